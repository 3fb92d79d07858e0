"""The sessions of one shard in the table of a front, and the steps that change them.

What a core states is compared with what is shown: what did not change makes no event, whichever
core states it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from sessiongate.core.follow.fleet_links import FleetLinks, Prepared
from sessiongate.core.sources.support.pacing import Pace, parts
from sessiongate.core.table.draft import STEP_BYTES, STEP_CHANGES, unassigned
from sessiongate.core.table.encoding import holds
from sessiongate.core.table.row import Row
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.memory import untracked
from sessiongate.runtime.rate_limited_log import RateLimitedLog
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import SourceStatus

# A session as a core states it: the row that shows just that already, or else prepared.
StatedSession: TypeAlias = Row | Prepared

_limited_log = RateLimitedLog(logging.getLogger(__name__))

_COPYING = "its sessions are being copied"


class ShownShard:
    """The sessions and sources of one shard in the table; one call at a time changes them.

    A source that its core cannot read keeps the sessions that are shown of it, also those that
    a new core does not know yet, until ``stale_after`` has passed since it was last read.
    """

    def __init__(
        self,
        table: SessionTable,
        links: FleetLinks,
        stale_after: float,
        claim: Callable[[str], bool],
        release: Callable[[str], None],
    ) -> None:
        """``claim`` returns whether a source is this shard's; ``release`` says that it was."""
        self._table = table
        self._links = links  # of the sessions of all shards
        self._stale_after = stale_after
        self._claim, self._release = claim, release
        self._statuses: dict[str, SourceStatus] = {}  # as the core states them, by source
        self._ids: dict[str, set[int]] = {}  # what is shown, by source
        # Of those, what the core that is followed has not stated: it cannot read the source.
        self._kept: dict[str, set[int]] = {}
        self._unseen: dict[str, set[int]] = {}  # what this has put into the table's ``unseen``
        # When each source that is shown as unreachable was last read, on `elapsed`.
        self._read_at: dict[str, float] = {}
        self._silence = ""  # why the core is not heard; empty if it is
        # Whether it is what the core stated at some revision, so that changes can follow.
        self.is_whole = False

    @property
    def sources(self) -> Collection[str]:
        """The names of the sources that are shown."""
        return self._ids.keys()

    @property
    def has_current_sources(self) -> bool:
        """Whether a source is shown as reachable."""
        return len(self._read_at) < len(self._ids)

    def count(self, source: str) -> int:
        """Return the number of sessions that are shown of a source."""
        return len(self._ids[source])

    def stated(
        self, sessions: Iterable[Session], *, is_whole: bool
    ) -> list[tuple[int, StatedSession]]:
        """Prepare sessions that are stated; whether they are this shard's is decided when shown.

        In the ``is_whole`` state of a core, most sessions are what is shown already.
        """
        found: list[tuple[int, StatedSession]] = []
        row_of, shows = self._table.row, self._links.shows
        for session in sessions:
            row = row_of(ident := session.id)
            if is_whole and row is not None and shows(row, session):
                found.append((ident, row))
                continue
            prepared = self._links.prepare(session)
            is_shown = row is not None and self._shows(row, prepared, thoroughly=is_whole)
            found.append((ident, row if row is not None and is_shown else prepared))
        return found

    def name_sources(self, names: Iterable[str]) -> None:
        """Show sources of which nothing is known."""
        for name in names:
            if self._claim(name):
                self._add_source(name)

    async def show_whole(
        self,
        sessions: Mapping[int, StatedSession],
        statuses: Mapping[str, SourceStatus],
        pace: Pace,
    ) -> None:
        """Show the whole state of a core in place of what is shown."""
        self.is_whole = False
        statuses = {name: each for name, each in statuses.items() if self._claim(name)}
        removals: list[int] = []
        for name, ids in self._ids.items():
            gone = ids - sessions.keys()
            if name in statuses and not statuses[name].reachable:
                self._kept[name] = gone
            else:
                self._kept.pop(name, None)
                removals += gone
        await self._show(sessions, removals, pace)
        await self._take_statuses(statuses, self._ids.keys() - statuses.keys(), pace)
        self.is_whole = True

    async def show_changes(
        self,
        changes: Mapping[int, StatedSession | None],
        statuses: Mapping[str, SourceStatus],
        removed: Collection[str],
        pace: Pace,
    ) -> None:
        """Show what has changed at the core: sessions, None if removed, and sources."""
        self.is_whole = False
        statuses = {name: each for name, each in statuses.items() if self._claim(name)}
        upserts = {ident: each for ident, each in changes.items() if each is not None}
        removals = [ident for ident, each in changes.items() if each is None]
        for name, status in statuses.items():
            if status.reachable:  # what the core has not stated by now is gone
                removals += self._kept.pop(name, set()) - upserts.keys()
        await self._show(upserts, removals, pace)
        await self._take_statuses({**self._statuses, **statuses}, removed, pace)
        self.is_whole = True

    def silence(self, why: str, read_at: float) -> None:
        """Show all sources as unreachable: the core is not heard; they were last read at a time."""
        self._silence = why
        for name in self._ids:
            self._show_source(name, read_at)

    @property
    def stale_at(self) -> float:
        """When sessions that are shown are stale, on `elapsed`; infinity if none will be."""
        aging = (name for name in self._read_at if self._aging(name))
        return min((self._read_at[name] + self._stale_after for name in aging), default=math.inf)

    async def hide_stale(self, pace: Pace) -> None:
        """Hide the sessions of sources that were last read too long ago."""
        for name, read_at in [*self._read_at.items()]:
            if self._aging(name) and elapsed() >= read_at + self._stale_after:
                if self._silence:  # its core may still show them
                    self.is_whole = False
                await self._show({}, [*self._aging(name)], pace)

    def _aging(self, name: str) -> set[int]:
        """Return what nobody observes of a source, which is shown as unreachable.

        While a core is heard that cannot read it, the core says which of its own are stale.
        """
        return self._ids[name] if self._silence else self._kept.get(name, set())

    async def _take_statuses(
        self, statuses: Mapping[str, SourceStatus], removed: Collection[str], pace: Pace
    ) -> None:
        """Show the states of all sources, and those that the core does not read any longer."""
        self._statuses = {name: each for name, each in statuses.items() if name not in removed}
        self._silence = ""
        for name in self._statuses:
            self._add_source(name)
            self._show_source(name, elapsed())
        for name in self._ids.keys() & {*removed}:
            await self._drop_source(name, pace)

    async def _show(
        self, upserts: Mapping[int, StatedSession], removals: Sequence[int], pace: Pace
    ) -> None:
        """Show sessions, and remove others, in steps: as many begin as end at any time."""
        changed: list[Prepared] = []
        refused: list[int] = []  # now of a source that is another shard's
        async for part in parts(upserts.items(), pace):
            for ident, stated in part:
                if (prepared := self._changed(ident, stated)) is None:
                    continue
                if self._claim(prepared.draft.values.source):
                    changed.append(prepared)
                else:
                    refused.append(ident)
        ends = [ident for ident in (*removals, *refused) if self._source_of(ident) is not None]
        for name in {prepared.draft.values.source for prepared in changed}:
            self._add_source(name)
        shown = ended = 0
        while shown < len(changed) or ended < len(ends):
            step: list[Prepared] = []
            size, until = 0, len(ends)
            while shown < len(changed) and len(step) < STEP_CHANGES and size < STEP_BYTES:
                step.append(changed[shown])
                size += len(changed[shown].draft.body)
                shown += 1
            if shown < len(changed):
                until = until * shown // len(changed)
            until = min(until, ended + STEP_CHANGES)
            self._step(step, ends[ended:until])
            ended = until
            await pace.rest()

    def _step(self, changed: Sequence[Prepared], ends: Sequence[int]) -> None:
        """Make changes visible together, with those of the links of other sessions."""
        for ident in ends:
            name = self._source_of(ident)
            assert name is not None  # noqa: S101 - it was looked at, and nobody else changes it
            self._ids[name].discard(ident)
            self._kept.get(name, set()).discard(ident)
            if name in self._read_at:  # whether it has ended is not known
                self._unseen.setdefault(name, set()).add(ident)
                self._table.unseen[ident] = name
        for draft, _, _ in changed:
            if (name := self._source_of(draft.id)) is not None:
                self._ids[name].discard(draft.id)  # it may have been renamed
            name = draft.values.source
            self._ids[name].add(draft.id)
            self._unseen.get(name, set()).discard(draft.id)
            self._table.unseen.pop(draft.id, None)
        stated = {prepared.draft.id: prepared.stated for prepared in changed}
        others = self._links.change(stated, ends).difference(stated, ends)
        drafts = [self._links.draft(prepared) for prepared in changed]
        for row in filter(None, map(self._table.row, others)):
            draft = self._links.prepare_again(row).draft
            if not holds(row.piece, draft.body):
                drafts.append(draft)
        self._table.show(drafts, ends)

    def _changed(self, ident: int, stated: StatedSession) -> Prepared | None:
        """Return what to show of a session; None if that is shown. The core knows it now."""
        row = self._table.row(ident)
        if row is not None:
            name = row.group.values.source
            if name not in self._ids:
                _limited_log.warn(
                    "two shards state sessions with the same id: one of them is not shown"
                )
                return None
            if name in self._kept:
                self._kept[name].discard(ident)
        if row is stated:
            return None
        prepared = stated if isinstance(stated, Prepared) else self._links.prepare_again(stated)
        is_shown = row is not None and self._shows(row, prepared, thoroughly=False)
        return None if is_shown else prepared

    def _shows(self, row: Row, prepared: Prepared, *, thoroughly: bool) -> bool:
        """Return whether a row shows what is stated, but for revisions and the update_time.

        The same may be encoded in several ways; which, only the thorough comparison looks at.
        """
        draft = prepared.draft
        if self._links.stated(draft.id) != prepared.stated:
            return False
        if holds(row.piece, draft.body):
            return True
        return thoroughly and unassigned(row.session) == Session.FromString(draft.body)

    def _source_of(self, ident: int) -> str | None:
        """Return the source of a session that is shown for this shard; None if it is not."""
        row = self._table.row(ident)
        if row is None or ident not in self._ids.get(row.group.values.source, ()):
            return None
        return row.group.values.source

    def _add_source(self, name: str) -> None:
        """Show a source that is not shown yet, as one that is not read."""
        if name not in self._ids:
            self._ids[name] = untracked(set())
            self._show_source(name, elapsed())

    def _show_source(self, name: str, read_at: float) -> None:
        """Show a source; if it cannot be read any longer, it was last read at a time."""
        status = self._statuses.get(name)
        why = self._silence or (status.error if status else _COPYING)
        if self._silence or status is None or not status.reachable:
            self._read_at.setdefault(name, read_at)
            self._table.set_source(name, reachable=False, error=why)
            return
        self._read_at.pop(name, None)
        for ident in self._unseen.pop(name, ()):
            self._table.unseen.pop(ident, None)
        services = tuple(status.services)
        self._table.set_source(name, reachable=True, partial=status.partial, services=services)

    async def _drop_source(self, name: str, pace: Pace) -> None:
        """Remove a source with its sessions: it is not read any longer."""
        await self._show({}, [*self._ids[name]], pace)
        del self._ids[name]
        for kept in (self._kept, self._read_at):
            kept.pop(name, None)
        for ident in self._unseen.pop(name, ()):
            self._table.unseen.pop(ident, None)
        self._table.remove_source(name)
        self._release(name)
