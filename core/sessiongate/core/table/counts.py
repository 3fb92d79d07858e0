"""Counts of sessions by some of their fields.

Sessions that agree in what a filter may name are one group, whose size is known, and so is the
number of sessions from each remote. If that is not enough, the sessions that match are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from sessiongate.core.table.addresses import Remote, remote_text
from sessiongate.core.table.changelog import ChangeLog
from sessiongate.core.table.count_query import CountQuery
from sessiongate.core.table.encoding import field
from sessiongate.core.table.filter import RowFilter
from sessiongate.core.table.filtered import FilteredLists
from sessiongate.core.table.indexes import Indexes
from sessiongate.core.table.row import Group, Row
from sessiongate.core.table.snapshot import TableSnapshot
from sessiongate.runtime.index import Index
from sessiongate.runtime.turns import Steps, later
from sessiongate.runtime.value_counts import CountedValues, ValueCounts
from sessiongate.v1 import session_service_pb2
from sessiongate.v1.session_service_pb2 import CountBy, CountSessionsResponse, SessionGroup

_T = TypeVar("_T")
# Groups, and remotes that are no addresses, whose sizes are looked up. More would be copied for
# too long; their sessions are read instead.
_MANY, _FEW = 100_000, 1000
_AT_ONCE, _ENCODED = 500, 100  # between two rests
_LARGE = 10_000  # counts that are not let go of at once

# The places of fields in a session's `Values`, with its remote after them.
_PLACES: Mapping[CountBy, int] = {
    session_service_pb2.COUNT_BY_SOURCE: 0,
    session_service_pb2.COUNT_BY_SERVICE: 1,
    session_service_pb2.COUNT_BY_STATE: 2,
    session_service_pb2.COUNT_BY_USER: 3,
    session_service_pb2.COUNT_BY_DATABASE: 4,
    session_service_pb2.COUNT_BY_APPLICATION: 5,
    session_service_pb2.COUNT_BY_ACTIVITY: 6,
    session_service_pb2.COUNT_BY_REMOTE: 7,
}
_REMOTE = session_service_pb2.COUNT_BY_REMOTE
# The members of `GroupValue` that hold them, unless it is its text.
_MEMBERS: Mapping[CountBy, str] = {
    session_service_pb2.COUNT_BY_STATE: "state",
    session_service_pb2.COUNT_BY_ACTIVITY: "activity",
}


class _Key(NamedTuple):
    """The values that sessions are counted by at first: those that the indexes hold."""

    of: Callable[[Row], Hashable]
    values: Callable[[Any], CountedValues]  # all fields, by place

    def chosen(self, key: Any, places: Sequence[int]) -> CountedValues:
        """Return the values at some places."""
        values = self.values(key)
        return tuple([values[place] for place in places])


def _of_group(group: Group) -> CountedValues:
    source, service, *others = group.values
    return (source, service or None, *others, None)


def _of_remote(remote: Remote | None) -> CountedValues:
    return (*(None,) * 7, None if remote is None else remote_text(remote))


def _of_both(key: tuple[Group, Remote | None]) -> CountedValues:
    group, remote = key
    return _of_group(group)[:7] + _of_remote(remote)[7:]


_GROUP = _Key(attrgetter("group"), _of_group)
_ONLY_REMOTE = _Key(attrgetter("remote"), _of_remote)
_BOTH = _Key(attrgetter("group", "remote"), _of_both)


class SessionCounts:
    """Counts the sessions of a table, as they are at one revision."""

    def __init__(self, rows: Indexes, filtered: FilteredLists, log: ChangeLog) -> None:
        self._rows = rows
        self._filtered = filtered
        self._log = log

    def page(
        self,
        query: CountQuery,
        wanted: RowFilter,
        describe: Callable[[], CountSessionsResponse],
        room: int,
    ) -> Steps[bytes]:
        """Return the encoded response with the groups of a page, as many as fit ``room`` bytes.

        ``wanted`` is the query's filter at a time. What ``describe`` says of the table is the rest
        of the response; it is called while the table is as the response shows it.
        """
        counts = ValueCounts()
        try:
            rest = yield from self._counted(query, wanted, describe, counts)
            rest.total_groups, rest.total_size = len(counts), counts.total
            groups = yield from counts.largest_first(query.start, query.start + query.page_size)
            yield from counts.let_go()
            return (yield from _encoded(query, groups, rest, room))
        finally:
            if len(counts) > _LARGE:  # the caller has left
                later(counts.let_go())

    def _counted(
        self,
        query: CountQuery,
        wanted: RowFilter,
        describe: Callable[[], _T],
        counts: ValueCounts,
    ) -> Steps[_T]:
        """Count the sessions that match; return what the table was like."""
        key = _GROUP
        if _REMOTE in query.by:
            key = _BOTH if len(query.by) > 1 else _ONLY_REMOTE
        places = [_PLACES[field] for field in query.by]
        sizes = yield from self._looked_up(wanted, key)
        if sizes is None:
            return (yield from self._read(wanted, key, places, describe, counts))
        # Nothing has changed since the sizes were complete.
        described, total = describe(), len(self._rows)
        *parts, latest = sizes
        for part in (*parts, latest):
            for one, size in part.items():
                is_latest = part is latest or one not in latest
                if size and is_latest and (key is not _GROUP or wanted.match_values(one.values)):
                    counts.add(key.chosen(one, places), size)
            yield
        if key is _ONLY_REMOTE and (rest := total - counts.total):
            counts.add(key.chosen(None, places), rest)
        return described

    def _looked_up(self, wanted: RowFilter, key: _Key) -> Steps[list[dict[Any, int]] | None]:
        """Return sizes from an index, as the table is when this ends; None if it cannot help."""
        if key is _GROUP and wanted.is_of_values:
            groups = self._rows.groups(wanted, _MANY)
            if groups is not None:
                parts = (groups[i : i + _AT_ONCE] for i in range(0, len(groups), _AT_ONCE))
                return (yield from self._sizes(self._rows.by_group, parts, key))
        if key is _ONLY_REMOTE and wanted.is_empty and (remotes := self._rows.remotes(_FEW)):
            return (yield from self._sizes(self._rows.by_remote, remotes, key))
        return None

    def _sizes(
        self, index: Index, parts: Iterable[Sequence[Hashable]], key: _Key
    ) -> Steps[list[dict[Any, int]] | None]:
        """Return the number of sessions with each key, in parts; None if it changes too fast.

        What changes while this reads is read again: the last part is right if another differs.
        """
        sizes: list[dict[Any, int]] = []
        latest: dict[Any, int] = {}
        seen = self._log.revision
        for part in parts:
            sizes.append({one: len(index.ids(one)) for one in part})
            yield
        while seen != self._log.revision:
            if seen < self._log.oldest:
                return None
            for step in self._log.between(seen, self._log.revision):
                rows = (row for row in (*step.old, *step.new) if row is not None)
                latest |= {one: len(index.ids(one)) for one in map(key.of, rows)}
                seen = step.last
                yield
        return [*sizes, latest]

    def _read(
        self,
        wanted: RowFilter,
        key: _Key,
        places: Sequence[int],
        describe: Callable[[], _T],
        counts: ValueCounts,
    ) -> Steps[_T]:
        """Count the sessions that match one by one; return what the table was like."""
        if wanted.is_empty:
            found = self._rows.orders["id"].snapshot()
        else:
            found = yield from self._filtered.matching(wanted, "id")
        described, snapshot = describe(), TableSnapshot(self._rows, self._log)
        # From here on the table may change.
        for part in found.parts():
            rows = yield from snapshot.rows(part)
            if rows is None:  # it has changed by more than the log holds
                yield from counts.let_go()
                return (yield from self._read(wanted, key, places, describe, counts))
            for one, size in Counter(map(key.of, rows)).items():
                counts.add(key.chosen(one, places), size)
            yield
        return described


def _encoded(
    query: CountQuery,
    groups: Iterable[tuple[CountedValues, int]],
    rest: CountSessionsResponse,
    room: int,
) -> Steps[bytes]:
    pieces: list[bytes] = []
    for values, count in groups:
        encoded = field(1, _group(query.by, values, count).SerializeToString())
        room -= len(encoded)
        if room < 0 and pieces:
            break
        pieces.append(encoded)
        if len(pieces) % _ENCODED == 0:
            yield
    if (stop := query.start + len(pieces)) < rest.total_groups:
        rest.next_page_token = query.token(stop)
    return b"".join((*pieces, rest.SerializeToString()))


def _group(by: Sequence[CountBy], values: CountedValues, count: int) -> SessionGroup:
    group = SessionGroup(count=count)
    for one, value in zip(by, values, strict=True):
        added = group.values.add()
        if value is not None:
            setattr(added, _MEMBERS.get(one, "text"), value)
    return group
