"""SessionTable: the live sessions, in memory, in order, with revisions.

The table knows no source, no ledger and no gRPC. It is used by one event loop; methods
run one at a time, so that a reader sees whole steps. A page is made in many steps,
and shows the table as it was at one of them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.table.activity_tallies import ActivityTallies
from sessiongate.core.table.changelog import LOG_BYTES, ChangeLog
from sessiongate.core.table.count_query import CountQuery
from sessiongate.core.table.counts import SessionCounts
from sessiongate.core.table.deadlines import Deadlines
from sessiongate.core.table.draft import Draft
from sessiongate.core.table.encoding import RevisionStamp, piece
from sessiongate.core.table.filter import MATCH_ALL
from sessiongate.core.table.filtered import FilteredLists, leave
from sessiongate.core.table.indexes import Indexes
from sessiongate.core.table.mask import Mask
from sessiongate.core.table.query import SessionQuery
from sessiongate.core.table.row import Row
from sessiongate.core.table.snapshot import TableSnapshot
from sessiongate.core.table.source_state import SourceState
from sessiongate.runtime.memory import unsearched, untrack
from sessiongate.runtime.split_dict import SplitDict
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    CountSessionsResponse,
    ListSessionsResponse,
    ServiceStatus,
    WatchChanges,
)

_Response = TypeVar("_Response", ListSessionsResponse, CountSessionsResponse)
# Limit of the sessions in one message, whatever page size is requested, so that a
# client with gRPC's default limit of 4 MiB can receive it. The promised limit is
# 3 MiB; the difference is for the rest of the message.
MAX_PAGE_BYTES = 3 * 1024 * 1024 - 64 * 1024
# Sessions between two rests, and those that are cut by a mask: less than a millisecond of work.
_AT_ONCE, _MASKED = 1000, 50

_ID = attrgetter("id")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of sessions, in the query's order, as the pieces of `core.table.encoding`."""

    pieces: Sequence[bytes]
    next_page_token: str  # empty after the last page
    total_size: int  # sessions that match, on all pages
    rest: ListSessionsResponse  # the rest of the response, as of when the page was made


class SessionTable:
    """The live sessions, the states of their sources, and the revision of both.

    ``revision`` only grows; every change of a session or a source's state takes one.
    ``update_time`` is when it last grew, ``sources_time`` when a source's state last
    changed. ``log`` holds the changes, ``activities`` what the sessions are doing.
    ``unreachable`` and ``partial`` are the names of the sources that cannot be read, or only
    in part, sorted. ``current_until`` returns until when, on the clock `elapsed`, it is known that
    the table shows its reachable sources as they were last observed: now, if they are read here.
    """

    def __init__(
        self,
        sources: Iterable[str],
        revision: int,
        now: Callable[[], Timestamp],
        *,
        since: int = 0,
        log_bytes: int = LOG_BYTES,
        current_until: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """Report no time before ``since``, in microseconds since the epoch.

        The table is ready once each of these ``sources`` has been tried. If there are none, as
        they become known later, whoever adds them says when it is (`ready`).
        """
        self.log = ChangeLog(revision, log_bytes)
        self._now = now
        self._latest = Timestamp()  # the latest `moment` so far
        self._latest.FromMicroseconds(since)
        self.update_time = self.sources_time = self.moment()
        self._rows = Indexes()
        self.activities = ActivityTallies()
        self._filtered = FilteredLists(self._rows, self.log)
        self._counts = SessionCounts(self._rows, self._filtered, self.log)
        self.current_until = current_until
        self._sources = {name: SourceState(name) for name in sources}
        self._untried = {*self._sources}
        self._name_troubled()
        # Ids, with their sources, that are open in the ledger while the source cannot be read:
        # whether these sessions still exist is unknown.
        self.unseen: SplitDict[int, str] = SplitDict()
        # Changes that are due at some time; readers enforce them first.
        self.deadlines = Deadlines()
        # Set once every source has been read or has failed; until then the table is incomplete.
        self.ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def revision(self) -> int:
        """Revision of the last change."""
        return self.log.revision

    def moment(self) -> Timestamp:
        """Return the current time, which never goes back: it stops if the clock is set back.

        So no change gets a time that was over when an earlier response was made.
        """
        now = self._now()
        if (now.seconds, now.nanos) > (self._latest.seconds, self._latest.nanos):
            self._latest = now
        return self._latest

    def report_since(self, time: int) -> None:
        """Report no time before this one, in microseconds since the epoch, from now on."""
        least = Timestamp()
        least.FromMicroseconds(time)
        self._latest = max(self._latest, least, key=lambda each: (each.seconds, each.nanos))

    def source(self, name: str) -> SourceState:
        """Return the state of a source."""
        return self._sources[name]

    def sources(self) -> Sequence[SourceState]:
        """Return the states of all sources."""
        return tuple(self._sources.values())

    def __contains__(self, ident: int) -> bool:
        """Return whether there is a live session with this id."""
        return self._rows.row(ident) is not None

    def row(self, ident: int) -> Row | None:
        """Return the live session with this id, if any."""
        return self._rows.row(ident)

    def get(self, ident: int) -> Session | None:
        """Return the live session with this id, if any; each call decodes it."""
        row = self._rows.row(ident)
        return None if row is None else row.session

    def piece(self, ident: int) -> bytes | None:
        """Return the piece (`core.table.encoding`) of the live session with this id, if any."""
        row = self._rows.row(ident)
        return None if row is None else row.piece

    def following(self, ident: int, count: int) -> Sequence[Row]:
        """Return the ``count`` sessions with the next higher ids, in order."""
        ids = self._rows.orders["id"]
        start = ids.rank(ident + 1)
        return self._rows.rows(ids[start : start + count])

    def apply(self, upserts: Iterable[Session], removals: Iterable[int]) -> None:
        """Make changes visible as `show` does: all at once, removals first."""
        self.show([*map(Draft.of, upserts)], removals)

    @unsearched()
    def show(self, upserts: Sequence[Draft], removals: Iterable[int]) -> Mapping[int, Row]:
        """Make changes visible, all at once, removals first; return the new rows by id.

        The ``connect_time`` of an id never changes. Ids of ``removals`` that the table does
        not have are skipped.
        """
        now = self.moment()
        group_of, stamp = self._rows.group, RevisionStamp(now)
        removed = {row.id: row for row in self._rows.rows(removals)}
        known = {row.id: row for row in self._rows.rows(map(_ID, upserts))} if self else {}
        before: list[Row | None] = [*removed.values()]
        after: list[Row | None] = [None] * len(before)
        replaced: dict[int, Row] = {}
        added: dict[int, Row] = {}
        revision = self.revision + len(before)
        for ident, body, place, remote, values, active, since, transaction, is_blocked in upserts:
            revision += 1
            identity = revision
            old = added.get(ident)
            if old is None and ident in known and ident not in removed:
                old = replaced[ident] = known[ident]
            if old is not None and old.is_still(remote, values):
                identity = old.identity
            encoded, group = stamp.piece(body, revision, identity), group_of(values)
            times = active, since, transaction
            row = Row(ident, place, remote, group, encoded, now, *times, is_blocked, identity)
            before.append(old)
            after.append(row)
            added[ident] = row
        if not after:
            return added
        untrack(before)
        untrack(after)
        gone = removed | replaced
        self._rows.change(gone, added)
        self.activities.change(gone.values(), added.values())
        self.update_time = now
        self.log.append(now, before, after)
        return added

    def set_source(
        self,
        name: str,
        *,
        reachable: bool,
        error: str = "",
        partial: str = "",
        services: tuple[ServiceStatus, ...] = (),
    ) -> bool:
        """Set the result of a source's last observation; return whether it is a change.

        A source that cannot be reached keeps the ``services`` that it last reported. One that
        was not there is added.
        """
        old = self._sources.get(name) or SourceState(name)
        new = SourceState(
            name,
            tried=True,
            reachable=reachable,
            error=error,
            partial=partial,
            services=services if reachable else old.services,
        )
        if new == old:
            return False
        self._sources[name] = new
        self._name_troubled()
        if name in self._untried:
            self._untried.remove(name)
            if not self._untried:
                self.ready.set()
        self._note_source(WatchChanges(sources=[new.status]))
        return True

    def remove_source(self, name: str) -> None:
        """Remove a source, all of whose sessions have been removed."""
        del self._sources[name]
        self._name_troubled()
        self._note_source(WatchChanges(removed_sources=[name]))

    def _note_source(self, change: WatchChanges) -> None:
        self.update_time = self.sources_time = self.moment()
        self.log.append(self.update_time, source=change)

    def _name_troubled(self) -> None:
        """Collect the names of sources that every answer has, sorted."""
        states = sorted(self._sources.values(), key=lambda state: state.name)
        self.unreachable = [state.name for state in states if not state.reachable]
        self.partial = [state.name for state in states if state.partial]

    def page(self, query: SessionQuery) -> Steps[Page]:
        """Return the page of a query, from the table as it is when its sessions are found."""
        wanted = query.matching
        if wanted is None and query.order in self._rows.orders:
            places = self._rows.orders[query.order]
        else:
            wanted = (wanted or MATCH_ALL).at(self.moment().ToNanoseconds())
            places = yield from self._filtered.matching(wanted, query.order)
        rest = self._described(ListSessionsResponse)
        low = places.rank(query.above + 1) if query.above else 0
        high = places.rank(query.below) if query.below else len(places)
        if query.after is not None and query.descending:
            high = min(high, places.rank(query.after))
        elif query.after is not None:
            low = max(low, places.rank(query.after + 1))
        indexes = range(high - 1, low - 1, -1) if query.descending else range(low, high)
        indexes = indexes[query.skip :]
        listed = _at(places, indexes[: query.page_size])
        total, snapshot = len(places), TableSnapshot(self._rows, self.log)
        if wanted is not None and wanted.depends_on_clock:
            leave(places)
        del places
        # From here on the table may change.
        pieces = yield from _pieces(snapshot, listed, query.mask)
        if pieces is None:  # it has changed by more than the log holds
            return (yield from self.page(query))
        more = len(indexes) > len(pieces)
        token = query.token(listed[len(pieces) - 1]) if more else ""
        return Page(pieces, token, total, rest)

    def count(self, query: CountQuery) -> Steps[bytes]:
        """Return the encoded response to a query, of the table at one moment until this ends."""
        wanted = (query.matching or MATCH_ALL).at(self.moment().ToNanoseconds())
        describe = partial(self._described, CountSessionsResponse)
        return (yield from self._counts.page(query, wanted, describe, MAX_PAGE_BYTES))

    def _described(self, kind: type[_Response]) -> _Response:
        """Return a response that only says what the table is like now."""
        return kind(
            revision=self.revision,
            update_time=self.update_time,
            unreachable=self.unreachable,
            partial=self.partial,
            read_time=self.moment(),
        )

    def is_short(self, query: SessionQuery) -> bool:
        """Return whether the rows of a page are found in about a millisecond at most."""
        if query.matching is None and query.order in self._rows.orders:
            return True
        return self._filtered.is_short(query.matching or MATCH_ALL, query.order)


def _at(places: Sequence[int], indexes: range) -> Sequence[int]:
    """Return what is at these indexes, which ascend or descend by 1."""
    if not indexes:
        return ()
    if indexes.step > 0:
        return places[indexes[0] : indexes[-1] + 1]
    return places[indexes[-1] : indexes[0] + 1][::-1]


def _pieces(
    snapshot: TableSnapshot, places: Sequence[int], mask: Mask | None
) -> Steps[list[bytes] | None]:
    """Return the pieces of sessions, as many as fit a page; at least one.

    Return None if the sessions have changed, and what they were is lost.
    """
    pieces: list[bytes] = []
    room = MAX_PAGE_BYTES
    at_once = _AT_ONCE if mask is None else _MASKED
    for start in range(0, len(places), at_once):
        if start:
            yield
        rows = yield from snapshot.rows(places[start : start + at_once])
        if rows is None:
            return None
        for row in rows:
            encoded = row.piece if mask is None else piece(mask.apply(row.session))
            room -= len(encoded)
            if room < 0 and pieces:
                return pieces
            pieces.append(encoded)
    return pieces
