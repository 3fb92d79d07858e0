"""SessionTable: the live sessions, in memory, in order, with revisions.

The table knows no source, no ledger and no gRPC. It is used by one event loop; methods
run one at a time, so that a reader sees whole steps. A page is made in many steps,
and shows the table as it was at the first.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.table.changelog import Change, ChangeLog, Pair
from sessiongate.core.table.deadlines import Deadlines
from sessiongate.core.table.draft import Draft, keys_of
from sessiongate.core.table.encoding import RevisionStamp, piece
from sessiongate.core.table.mask import Mask
from sessiongate.core.table.order import Order
from sessiongate.core.table.query import Key, SessionQuery, matcher
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    ListSessionsResponse,
    ServiceStatus,
    SessionFilter,
    SourceStatus,
)

# Limit of the sessions in one message, whatever page size is requested, so that a
# client with gRPC's default limit of 4 MiB can receive it. The promised limit is
# 3 MiB; the difference is for the rest of the message.
MAX_PAGE_BYTES = 3 * 1024 * 1024 - 64 * 1024
# Filtered lists to cache for the revision that they were made at.
_MEMO_SIZE = 16
# If at least one session in this many is removed, a scan of all keys is cheaper than look-ups.
_DENSE = 16
# Sessions processed between two rests: less than a millisecond of work.
_LOOKED_AT, _MASKED = 100, 50


@dataclass(frozen=True, slots=True)
class SourceState:
    """The current state of a source."""

    name: str
    tried: bool = False  # it has been read or has failed since the core started
    reachable: bool = False  # its last observation succeeded
    error: str = ""  # why the last observation failed
    partial: str = ""  # why the last observation did not cover all sessions
    services: tuple[ServiceStatus, ...] = ()  # as last reported, by name

    @property
    def status(self) -> SourceStatus:
        """The state as a message of the contract."""
        return SourceStatus(
            name=self.name,
            reachable=self.reachable,
            error=self.error,
            partial=self.partial,
            services=self.services,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """A page of sessions, in the query's order, as the pieces of `core.table.encoding`."""

    pieces: Sequence[bytes]
    next_page_token: str  # empty after the last page
    total_size: int  # sessions that match, on all pages
    rest: ListSessionsResponse  # the rest of the response, as of when the page was made


class _Row(NamedTuple):
    """A session and its encoding, made once per change for all responses."""

    session: Session
    piece: bytes


class SessionTable:
    """The live sessions, the states of their sources, and the revision of both.

    ``revision`` only grows; every change of a session or a source's state takes one.
    ``update_time`` is when it last grew, ``sources_time`` when a source's state last
    changed. ``log`` holds the changes.
    """

    def __init__(
        self,
        sources: Iterable[str],
        revision: int,
        now: Callable[[], Timestamp],
        *,
        since: int = 0,
    ) -> None:
        """Report no time before ``since``, in microseconds since the epoch."""
        self.log = ChangeLog(revision)
        self._now = now
        self._latest = Timestamp()  # the latest `moment` so far
        self._latest.FromMicroseconds(since)
        self.update_time = self.sources_time = self.moment()
        self._rows: dict[int, _Row] = {}
        # A copy of the rows at the current revision, shared by all work that outlasts it.
        self._kept: Mapping[int, _Row] | None = None
        self._orders = {"id": Order(), "connect_time": Order()}  # in the order of `keys_of`
        self._sources = {name: SourceState(name) for name in sources}
        # (filter, order) → the keys that match, at the revision; oldest first.
        self._memo: OrderedDict[tuple[bytes, str], list[Key]] = OrderedDict()
        # Ids, with their sources, that are open in the ledger while the source cannot be read:
        # whether these sessions still exist is unknown.
        self.unseen: dict[int, str] = {}
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

    @property
    def unreachable(self) -> list[str]:
        """Names of the sources that currently cannot be read, sorted."""
        return sorted(state.name for state in self._sources.values() if not state.reachable)

    @property
    def partial(self) -> list[str]:
        """Names of the sources that were read only in part, sorted."""
        return sorted(state.name for state in self._sources.values() if state.partial)

    def source(self, name: str) -> SourceState:
        """Return the state of a configured source."""
        return self._sources[name]

    def sources(self) -> Sequence[SourceState]:
        """Return the states of all configured sources."""
        return tuple(self._sources.values())

    def get(self, ident: int) -> Session | None:
        """Return the live session with this id, if any."""
        row = self._rows.get(ident)
        return None if row is None else row.session

    def piece(self, ident: int) -> bytes | None:
        """Return the piece (`core.table.encoding`) of the live session with this id, if any."""
        row = self._rows.get(ident)
        return None if row is None else row.piece

    def following(self, ident: int, count: int) -> Sequence[tuple[Session, bytes]]:
        """Return the ``count`` sessions with the next higher ids, in order, each with its piece."""
        keys = self._orders["id"].keys
        start = bisect_right(keys, (0, ident))
        return [self._rows[i] for _, i in keys[start : start + count]]

    def apply(self, upserts: Iterable[Session], removals: Iterable[int]) -> None:
        """Make changes visible as `show` does: all at once, removals first."""
        self.show([*map(Draft.of, upserts)], removals)

    def show(self, upserts: Iterable[Draft], removals: Iterable[int]) -> None:
        """Make changes visible, all at once, removals first.

        The table owns each session of ``upserts`` from now on, and sets its
        ``update_time`` and ``revision``. The ``connect_time`` of an id never changes.
        Ids of ``removals`` that the table does not have are skipped.
        """
        now = self.moment()
        rows, revision, stamp = self._rows, self.revision, RevisionStamp(now)
        changes: list[Change] = []
        pairs: list[Pair] = []
        removed: list[Session] = []
        for ident in removals:
            gone = rows.pop(ident, None)
            if gone is not None:
                changes.append(Change(ident, gone.piece, None))
                pairs.append((gone.session, None))
                removed.append(gone.session)
        self._remove_from_orders(removed)
        revision += len(changes)
        added: list[tuple[Key, Key]] = []
        for ident, session, body, keys in upserts:
            revision += 1
            session.revision = revision
            session.update_time.CopyFrom(now)
            row = _Row(session, stamp.piece(body, revision))
            old = rows.get(ident)
            rows[ident] = row
            if old is None:
                added.append(keys)
                changes.append(Change(ident, None, row.piece))
                pairs.append((None, session))
            else:
                changes.append(Change(ident, old.piece, row.piece))
                pairs.append((old.session, session))
        if not changes:
            return
        for index, order in enumerate(self._orders.values()):
            order.add([keys[index] for keys in added])
        self._memo.clear()
        self._kept = None
        self.update_time = now
        self.log.append(now, changes, pairs)

    def _remove_from_orders(self, removed: Sequence[Session]) -> None:
        if len(removed) * _DENSE > len(self._rows):
            for order in self._orders.values():
                order.keep(self._rows)
        elif removed:
            keys = zip(*(keys_of(session.id, session) for session in removed), strict=True)
            for order, of_order in zip(self._orders.values(), keys, strict=True):
                order.remove(of_order)

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

        A source that cannot be reached keeps the ``services`` that it last reported.
        """
        old = self._sources[name]
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
        if all(state.tried for state in self._sources.values()):
            self.ready.set()
        self.update_time = self.sources_time = self.moment()
        self.log.append(self.update_time, source=new.status)
        return True

    def page(self, query: SessionQuery) -> Steps[Page]:
        """Return the page of a query, from the table as it is when this begins."""
        rest = ListSessionsResponse(
            revision=self.revision,
            update_time=self.update_time,
            unreachable=self.unreachable,
            partial=self.partial,
            read_time=self.moment(),
        )
        rows: Mapping[int, _Row] = self._rows
        keys = self._known(query)
        if keys is None:
            rows = self._kept = self._kept or self._rows.copy()
            keys = yield from self._scan(query, rows)
        low = bisect_right(keys, query.above) if query.above else 0
        high = bisect_left(keys, query.below) if query.below else len(keys)
        if query.after is not None and query.descending:
            high = min(high, bisect_left(keys, query.after))
        elif query.after is not None:
            low = max(low, bisect_right(keys, query.after))
        indexes = range(high - 1, low - 1, -1) if query.descending else range(low, high)
        indexes = indexes[query.skip :]
        listed = [keys[index] for index in indexes[: query.page_size]]
        total = len(keys)
        # From here on the table may change: its keys are no longer used.
        more = len(indexes) > len(listed)
        pieces = yield from _pieces([rows[key[1]] for key in listed], query.mask)
        more = more or len(pieces) < len(listed)
        token = query.token(listed[len(pieces) - 1]) if more else ""
        return Page(pieces, token, total, rest)

    def knows(self, query: SessionQuery) -> bool:
        """Return whether a page can be made without a scan of all sessions."""
        return self._known(query) is not None

    def _known(self, query: SessionQuery) -> list[Key] | None:
        """Return the keys of the sessions that match the filter, ascending, if known."""
        if query.filter is None:
            return self._orders[query.order].keys
        return self._memo.get((query.filtered, query.order))

    def _scan(self, query: SessionQuery, rows: Mapping[int, _Row]) -> Steps[list[Key]]:
        """Find the keys of matching sessions by a scan of all rows."""
        revision = self.revision
        keys = self._orders[query.order].keys.copy()
        matches = matcher(query.filter or SessionFilter())
        found: list[Key] = []
        for start in range(0, len(keys), _LOOKED_AT):
            yield
            part = keys[start : start + _LOOKED_AT]
            found += [key for key in part if matches(rows[key[1]].session)]
        if revision == self.revision:
            self._memo[query.filtered, query.order] = found
            if len(self._memo) > _MEMO_SIZE:
                self._memo.popitem(last=False)
        return found


def _pieces(rows: Sequence[_Row], mask: Mask | None) -> Steps[list[bytes]]:
    """Return the pieces of the rows, as many as fit a page; at least one."""
    if mask is None:
        pieces = [row.piece for row in rows]
        if sum(map(len, pieces)) <= MAX_PAGE_BYTES:
            return pieces
    pieces = []
    size = 0
    for index, row in enumerate(rows):
        if mask is None:
            encoded = row.piece
        else:
            if index % _MASKED == 0:
                yield
            encoded = piece(mask.apply(row.session))
        size += len(encoded)
        if size > MAX_PAGE_BYTES and pieces:
            break
        pieces.append(encoded)
    return pieces
