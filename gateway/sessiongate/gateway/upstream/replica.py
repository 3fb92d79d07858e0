"""A live copy of the core's sessions, and the proof that it is current.

In informer terms, a `Reflector` lists and watches (one call of WatchSessions does
both), and a `Replica` applies that to a `Store`. The store only takes states that the
table was in: messages are applied together, up to one that carries ``as_of``.
"""

from __future__ import annotations

import asyncio
import logging
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from contextlib import aclosing

from sessiongate.client.age import Clock
from sessiongate.client.reflector import Began, Lost, Reflector, Watch
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.v1.session_service_pb2 import SourceStatus, WatchSessionsResponse
from sessiongate.v1.times import seconds_of

log = logging.getLogger(__name__)

_PAUSE = 1.0  # seconds before the core is followed again after an unexpected error


class Store:
    """Sessions by id, in order, as of one revision of the core's table."""

    def __init__(self) -> None:
        self.revision = 0
        self.changed = 0.0  # when the table last changed, in seconds since the epoch
        self.read = math.inf  # when it was read, on the same clock, if the core says so
        self.gaps = Gaps()
        self.sources_changed = 0.0  # when a source's state last changed, likewise
        self._sessions: dict[int, SessionRow] = {}
        self._ids: list[int] = []  # sorted; exactly the keys of _sessions
        self._all: Sequence[SessionRow] | None = None  # what `all` returned
        self._sources: dict[str, SourceStatus] = {}  # by name

    def __len__(self) -> int:
        return len(self._ids)

    def get(self, ident: int) -> SessionRow | None:
        """Return the session with this id, if it is alive."""
        return self._sessions.get(ident)

    def after(self, ident: int, count: int) -> Sequence[SessionRow]:
        """Return the ``count`` sessions with the next higher ids, in order."""
        start = bisect_right(self._ids, ident)
        return [self._sessions[ident] for ident in self._ids[start : start + count]]

    def before(self, ident: int, count: int) -> Sequence[SessionRow]:
        """Return the ``count`` sessions with the next lower ids, in order."""
        stop = bisect_left(self._ids, ident)
        return [self._sessions[ident] for ident in self._ids[max(0, stop - count) : stop]]

    def at(self, index: int, count: int) -> Sequence[SessionRow]:
        """Return the ``count`` sessions from an index in id order."""
        return [self._sessions[ident] for ident in self._ids[index : index + count]]

    def sources(self) -> Sequence[SourceStatus]:
        """Return the status of every source."""
        return tuple(self._sources.values())

    def all(self) -> Sequence[SessionRow]:
        """Return all sessions in id order: the same object as long as nothing changes."""
        if self._all is None:
            self._all = self.at(0, len(self))
        return self._all

    def apply(self, messages: Iterable[WatchSessionsResponse]) -> None:
        """Apply messages of one stream, in order."""
        self._all = None
        added: list[int] = []
        removed = False
        for message in messages:
            for removal in message.changes.removals:
                if self._sessions.pop(removal.id, None) is not None:
                    removed = True
            for upserts in (message.snapshot.sessions, message.changes.upserts):
                for session in upserts:
                    if session.id not in self._sessions:
                        added.append(session.id)
                    self._sessions[session.id] = SessionRow(session)
            if message.sync.sources or message.changes.sources:
                self._take_sources(message)
            if message.revision:
                self.revision = message.revision
                self.changed = seconds_of(message.update_time)
            if message.HasField("read_time"):
                self.read = seconds_of(message.read_time)
        if removed:
            self._ids = [ident for ident in self._ids if ident in self._sessions]
        if added:
            # Sorted runs; an id that was removed and added again would be in both.
            known = set(self._ids) if removed else None
            fresh = {ident for ident in added if ident in self._sessions}
            self._ids += sorted(fresh - known if known is not None else fresh)
            self._ids.sort()

    def _take_sources(self, message: WatchSessionsResponse) -> None:
        for sources in (message.sync.sources, message.changes.sources):
            self._sources.update({status.name: status for status in sources})
        self.gaps = Gaps.of_statuses(self._sources.values())
        synced = message.HasField("sync")
        changed = message.sync.sources_update_time if synced else message.update_time
        self.sources_changed = seconds_of(changed)


class Replica:
    """Keeps a store in step with a core by `run`, until that is cancelled.

    Answer from ``store`` while `current`; it is replaced as a whole when everything
    has to be requested from the core again.
    """

    def __init__(self, watch: Watch, *, staleness: float, clock: Clock) -> None:
        self.store = Store()
        self._watch = watch
        self._staleness = staleness
        self._clock = clock
        self._reflector = self._reflect()
        self._lost_at: float | None = None  # when the core was lost, if it is

    @property
    def age(self) -> float | None:
        """An upper bound on the store's age, in seconds; None if nothing proves one."""
        return self._reflector.age

    @property
    def current(self) -> bool:
        """Whether the store is provably no older than the staleness bound."""
        age = self.age
        return age is not None and age <= self._staleness

    async def run(self) -> None:
        """Follow the core forever, through its failures."""
        while True:
            try:
                await self._follow()
            except Exception:
                log.exception("the copy of the core's sessions is dropped")
            self.store = Store()  # it may hold half of a state
            self._reflector = self._reflect()
            await asyncio.sleep(_PAUSE)

    def _reflect(self) -> Reflector:
        return Reflector(lambda: self.store.revision, staleness=self._staleness, clock=self._clock)

    async def _follow(self) -> None:
        store = self.store  # or, until a snapshot is complete, the one that will replace it
        pending: list[WatchSessionsResponse] = []
        async with aclosing(self._reflector.follow(self._watch)) as events:
            async for event in events:
                if isinstance(event, Lost):
                    self._lose(str(event.error))
                elif isinstance(event, Began):
                    pending.clear()
                    if not event.resumed:
                        self._restart()
                        store = Store()
                else:
                    pending.append(event)
                    if event.HasField("as_of"):
                        store.apply(pending)
                        self.store = store
                        self._find()
                    elif store is self.store:
                        continue  # the table was not in the state that this would produce
                    else:
                        store.apply(pending)
                    pending.clear()

    def _restart(self) -> None:
        if self.store.revision:
            log.info("the core no longer holds the changes since the copy: copying all sessions")
            self.store = Store()

    def _lose(self, why: str) -> None:
        """Log once that the core is lost, however often requests fail."""
        if self._lost_at is None:
            self._lost_at = self._clock()
            log.warning("the core's sessions cannot be followed: %s; asking again", why)

    def _find(self) -> None:
        """Log once that the core is back."""
        if self._lost_at is not None:
            seconds_lost = self._clock() - self._lost_at
            self._lost_at = None
            log.warning("the core's sessions are followed again, after %.1f s", seconds_lost)
