"""One source's observations, written to the ledger and then shown in the table.

An observation is first written to the ledger, then made visible in one step of the
table. A source that has nothing to write waits for no disk. No session is lost because
of what could not be read: members keep their last known values, and while a session's
key cannot be read, all known sessions stay until they are stale.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sessiongate.core.collect.completeness import Completeness, assess, distinguished
from sessiongate.core.collect.keys import short
from sessiongate.core.collect.links import Links, SessionTcpLinks
from sessiongate.core.collect.preparation import Preparation, Ready
from sessiongate.core.ledger.rows import Opening
from sessiongate.core.ledger.sqlite import Held, Ledger
from sessiongate.core.sources.base import Observation, Observed, SourceConfig
from sessiongate.core.sources.support.moments import is_storable
from sessiongate.core.sources.support.pacing import Pace, mapped
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.memory import give_back

log = logging.getLogger(__name__)

# A server's stated start may move by this many seconds without a restart.
INCARNATION_TOLERANCE = 2.0
_WORTH_WRITING = INCARNATION_TOLERANCE / 2
_MANY = 10_000  # sessions that end at once: their memory is worth returning


@dataclass(frozen=True, slots=True)
class Shared:
    """What all sources share."""

    table: SessionTable
    ledger: Ledger
    links: Links
    underway: Underway
    stale_after: float
    max_session: int  # bytes
    now: Callable[[], int]


@dataclass(slots=True)
class Underway:
    """Upper bound of changes in the table by observations that are being written."""

    changes: int = 0


class Reconciler:
    """Keeps one source's sessions in sync with what is observed."""

    def __init__(self, config: SourceConfig, shared: Shared) -> None:
        self.completeness = Completeness()
        self._name = config.name
        self._place = config.place
        self._max_sessions = config.max_sessions
        self._table = shared.table
        self._ledger = shared.ledger
        self._links = shared.links
        self._underway = shared.underway
        self._stale_after = shared.stale_after
        self._now = shared.now
        # The open sessions in the ledger, by key. The table has them too, except those that
        # are stale or have not been seen since the core started.
        self._held: dict[str, Held] = {}
        # The server's start as last stated, and as in the ledger: clocks drift, and a drift
        # that is followed step by step is never mistaken for a restart.
        self._incarnation: float | None = None
        self._written: float | None = None
        self._former_place: str | None = None  # where it was read from, according to the ledger
        self._last: Observation | None = None
        self._observed_at = 0.0  # when that was, on the clock `elapsed`
        # What the table shows, by key: an object that is stated again is unchanged.
        self._shown: Mapping[str, Observed] = {}
        # Open sessions that the last observation lacks: when each was last observed, on the
        # clock `elapsed`.
        self._missing: Mapping[str, float] = {}
        self._preparation = Preparation(config.name, shared.table, shared.links, shared.max_session)
        self._unseen: Collection[int] = ()  # ids of open sessions that the table lacks

    async def restore(self, place: str | None) -> None:
        """Take over the open sessions in the ledger of a source that was read from ``place``.

        Raises `LedgerError`.
        """
        self._former_place = place
        self._held = await self._ledger.held(self._name)
        self._incarnation = self._written = await self._ledger.incarnation(self._name)
        self._hide([held.id for held in self._held.values()])

    @property
    def session_count(self) -> int:
        """Sessions of the source that are shown."""
        return sum(self._table.get(held.id) is not None for held in self._held.values())

    @property
    def stale_at(self) -> float:
        """The time at which the last observation becomes stale, on the clock `elapsed`."""
        return self._observed_at + self._stale_after

    async def take(self, observation: Observation, observed_at: float) -> None:
        """Show an observation that was made at a moment on the clock `elapsed`.

        Raises `LedgerError`; then nothing has changed.
        """
        if observation is not self._last or self._missing:
            await self._reconcile(observation)
            self._last = observation
        self._observed_at = observed_at

    def expire(self) -> None:
        """Hide the sessions, which are stale; whether they still exist is unknown."""
        self._last, self._shown, self._missing = None, {}, {}
        ids = [held.id for held in self._held.values()]
        self._hide(ids)
        linked = self._links.observe(self._name, {}).difference(ids)
        self._table.show(self._preparation.relinked(linked), ids)

    async def _reconcile(self, observation: Observation) -> None:
        pace = Pace()
        pairs = await mapped(lambda item: (short(item.key), item), observation.sessions, pace)
        distinct = distinguished(pairs, self._shown)
        await pace.pause()
        observed = self._limited(distinct)
        completeness = assess(observation, distinct, observed, self._max_sessions)
        await pace.pause()
        # If the server has restarted, none of the known sessions still exists.
        is_complete = not observation.unreadable or self._restarted(observation.incarnation)
        missing = {} if is_complete else self._not_observed(observed)
        observed |= {key: self._shown[key] for key in missing if key in self._shown}
        # An upper bound, reserved before anything is written: after the write nothing can fail,
        # whatever other sources show meanwhile.
        changes = len(observed) + len(self._held) + len(self._table)
        self._underway.changes += changes
        try:
            await self._ledger.reserve(self._table.revision + self._underway.changes)
            closed = await self._write(observed, observation.incarnation, missing)
            await self._show(observed, missing, closed)
        finally:
            self._underway.changes -= changes
        self._missing = missing
        self._preparation.forget_all_but(observed)
        self.completeness = completeness
        if len(closed) >= _MANY:
            give_back()

    async def _show(
        self, observed: Mapping[str, Observed], missing: Iterable[str], closed: Sequence[int]
    ) -> None:
        """Make the table hold what was observed, and nothing else of this source.

        Prepare it in short steps; make it visible in one.
        """
        pace = Pace()
        tcp_links = dict(filter(None, await mapped(self._tcp_links, observed.items(), pace)))
        stated = await self._links.compared(self._name, tcp_links)
        stale = [self._held[key].id for key in missing if key not in observed]
        while True:
            shown = self._shown
            ready = [*filter(None, await mapped(self._ready, observed.items(), pace))]
            await pace.rest()  # other sources' changes become visible in their own steps
            if self._shown is shown:
                break  # else all sessions were hidden meanwhile
        self._shown = {}  # until all of this is shown
        linked = self._links.observe(self._name, stated)
        drafts = [*filter(None, map(self._preparation.draft, ready))]
        linked.difference_update(closed, stale, (each.session.id for each in ready))
        del ready  # free its memory for what the table adds
        drafts += self._preparation.relinked(linked)
        self._hide(stale)
        self._table.show(drafts, (*closed, *stale))
        self._shown = observed

    def _hide(self, idents: Collection[int]) -> None:
        """Record which of the source's sessions the table lacks, as they may have ended."""
        unseen = self._table.unseen
        for ident in self._unseen:
            del unseen[ident]
        unseen.update(dict.fromkeys(idents, self._name))
        self._unseen = idents

    def _limited(self, observed: dict[str, Observed]) -> dict[str, Observed]:
        """Keep at most ``max_sessions`` observed sessions, preferring those known before."""
        if len(observed) <= self._max_sessions:
            return observed
        keys = sorted(observed, key=lambda key: key not in self._held)  # stable: keeps the order
        kept = set(keys[: self._max_sessions])
        return {key: item for key, item in observed.items() if key in kept}

    def _not_observed(self, observed: Mapping[str, Observed]) -> dict[str, float]:
        """Return open sessions that an incomplete observation lacks and that are not stale.

        Values are when each was last observed, or could first have been, on `elapsed`.
        """
        now = elapsed()
        since = self._observed_at or now
        seen = {key: self._missing.get(key, since) for key in self._held if key not in observed}
        missing = [(key, time) for key, time in seen.items() if time > now - self._stale_after]
        # While one row stays unreadable, do not keep any number of short sessions.
        return dict(missing[-self._max_sessions :])

    async def _write(
        self,
        observed: Mapping[str, Observed],
        incarnation: float | None,
        missing: Mapping[str, float],
    ) -> list[int]:
        """Make the ledger hold what was observed or is ``missing``, and nothing else.

        Return the ids that have ended.
        """
        pace = Pace()
        held = {} if self._restarted(incarnation) else self._held
        rekeyed = {
            key: held[item.former]
            for key, item in observed.items()
            if item.former and item.former in held and key not in held
        }
        if rekeyed:
            held = held | rekeyed
        await pace.pause()
        kept = {key: held[key] for key in (*missing, *observed) if key in held}
        await pace.pause()
        keeping = {known.id for known in rekeyed.values()}
        gone = (known.id for key, known in self._held.items() if key not in kept)
        closed = [ident for ident in gone if ident not in keeping]
        await pace.pause()
        new = [pair for pair in observed.items() if pair[0] not in held]
        openings = await mapped(
            lambda pair: Opening(pair[0], self._start(pair[1]), pair[1].stated_id), new, pace
        )
        drifted = self._drifted(incarnation)
        is_elsewhere = self._former_place != self._place
        if openings or closed or drifted or rekeyed or is_elsewhere:
            ids = await self._ledger.record(
                self._name,
                opened=openings,
                closed=closed,
                incarnation=incarnation if drifted else None,
                rekeyed={key: known.id for key, known in rekeyed.items()},
                place=self._place if is_elsewhere else None,
            )
            if self._is_moved and closed:
                log.warning(
                    "source %s is read from another place: ended %d sessions of %s",
                    *(self._name, len(closed), self._former_place),
                )
            self._former_place = self._place
            opened = zip(ids, openings, strict=True)
            kept |= await mapped(
                lambda pair: (pair[1].key, Held(pair[0], pair[1].connect_time)), opened, pace
            )
        self._held = kept
        if incarnation is not None:
            self._incarnation = incarnation
        if drifted:
            self._written = incarnation
        return closed

    def _tcp_links(self, observed: tuple[str, Observed]) -> tuple[int, SessionTcpLinks] | None:
        key, item = observed
        if item.accepted is None and not item.opened:
            return None
        return self._held[key].id, SessionTcpLinks(item.accepted, item.opened)

    def _ready(self, observed: tuple[str, Observed]) -> Ready | None:
        """Return the session if it may have changed; None if it was stated unchanged."""
        key, item = observed
        held = self._held[key]
        # If the table lacks it, the key is a new session now.
        if item is self._shown.get(key) and self._table.get(held.id) is not None:
            return None
        return self._preparation.ready(key, item, held)

    @property
    def _is_moved(self) -> bool:
        """Whether the source is read from another place than the sessions in the ledger."""
        return self._former_place not in (None, self._place)

    def _restarted(self, incarnation: float | None) -> bool:
        """Return whether no known session still exists: after a restart, or at another server."""
        if incarnation is None or self._incarnation is None:
            return self._is_moved
        return abs(incarnation - self._incarnation) > INCARNATION_TOLERANCE

    def _drifted(self, incarnation: float | None) -> bool:
        """Return whether to update the server's start in the ledger."""
        if incarnation is None:
            return False
        return self._written is None or abs(incarnation - self._written) > _WORTH_WRITING

    def _start(self, item: Observed) -> int:
        stated = item.session.HasField("connect_time") and is_storable(item.session.connect_time)
        return item.session.connect_time.ToNanoseconds() if stated else self._now()
