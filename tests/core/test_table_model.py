"""The table by a model: pages of any filter under any changes, compared with a plain reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sessiongate.core.table import counts, filtered, indexes
from sessiongate.core.table import table as table_module
from sessiongate.core.table.count_query import CountQuery
from sessiongate.core.table.query import SessionQuery
from sessiongate.core.table.table import Page, SessionTable
from sessiongate.runtime import index, sorted_sequence, value_counts
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import Activity, Session
from sessiongate.v1.session_service_pb2 import (
    CountBy,
    CountSessionsRequest,
    CountSessionsResponse,
    ListSessionsRequest,
    ListSessionsResponse,
    SessionFilter,
    SessionGroup,
)
from tests.faults import scale

# Addresses, each with the networks of the filters that contain it.
REMOTES = {
    "10.0.0.1": {"10.0.0.0/8", "10.0.0.1"},
    "::ffff:10.0.0.9": {"10.0.0.0/8"},
    "32.1.13.184": set(),
    "2001:db8::5": {"2001:db8::/32"},
    "/run/socket": set(),
}
NOW = 100  # seconds since the epoch
# Active, idle, idle in a transaction, waiting.
ACTIVITIES = (1, 2, 3, 5)
times = st.none() | st.integers(90, 101).map(lambda seconds: Timestamp(seconds=seconds))
MEMBERS = ("activity", "source", "service", "state", "user", "database", "application", "remote")
ids = st.integers(1, 40)
texts = st.sampled_from(["a", "b", ""])
sessions = st.builds(
    Session,
    source=st.sampled_from("st"),
    service=texts,
    state=st.integers(0, 2),
    user=st.none() | texts,
    database=st.none() | texts,
    application=st.none() | st.integers(1, 30).map(str),
    remote=st.none() | st.sampled_from(sorted(REMOTES)),
    last_active_time=times,
    activity=st.none()
    | st.builds(
        Activity,
        state=st.sampled_from(ACTIVITIES),
        since_time=times,
        transaction_start_time=times,
        blocked_by_ids=st.lists(ids, max_size=2),
    ),
)


class Wanted(NamedTuple):
    """A filter, as plain values."""

    named: dict[str, set[Any]]  # by the field of Session
    networks: set[str]
    after: int | None
    before: int | None
    activities: set[int]
    min_idle: int | None
    min_duration: int | None

    def message(self) -> SessionFilter:
        """Return the filter of the contract."""
        message = SessionFilter(remotes=self.networks, activities=self.activities)  # type: ignore[arg-type] # the numbers of an enumeration
        for field, named in self.named.items():
            getattr(message, f"{field}s").extend(named)
        if self.after is not None:
            message.connected_after.FromSeconds(self.after)
        if self.before is not None:
            message.connected_before.FromSeconds(self.before)
        if self.min_idle is not None:
            message.min_idle.FromSeconds(self.min_idle)
        if self.min_duration is not None:
            message.min_activity_duration.FromSeconds(self.min_duration)
        return message

    def matches(self, session: Session) -> bool:
        """Return whether a session matches, read as the contract says it."""
        for field, named in self.named.items():
            is_optional = field in ("user", "database", "application")
            if named and is_optional and not session.HasField(field):
                return False
            if named and getattr(session, field) not in named:
                return False
        if self.networks and not self.networks & REMOTES.get(session.remote, set()):
            return False
        if not self._match_activity(session):
            return False
        connected = session.connect_time.seconds
        return (self.after is None or connected >= self.after) and (
            self.before is None or connected < self.before
        )

    def _match_activity(self, session: Session) -> bool:
        activity = session.activity
        if self.activities and activity.state not in self.activities:
            return False
        if self.min_idle is not None and (
            not session.HasField("last_active_time")
            or activity.state in (1, 5)
            or NOW - session.last_active_time.seconds < self.min_idle
        ):
            return False
        return self.min_duration is None or (
            activity.HasField("since_time")
            and NOW - activity.since_time.seconds >= self.min_duration
        )


def few(values: Sequence[Any]) -> st.SearchStrategy[set[Any]]:
    return st.just(set()) | st.sets(st.sampled_from(values), max_size=2)


every = st.just(Wanted({}, set(), None, None, set(), None, None))
seconds = st.none() | st.integers(0, 9)
filters = every | st.builds(
    Wanted,
    st.fixed_dictionaries(
        {},
        optional={
            "source": few("st"),
            "service": few(["a", "b", "other"]),
            "state": few([0, 1, 5]),
            "user": few(["a", ""]),
            "database": few(["b", "other"]),
            "application": few(["1", "2", "3"]),
        },
    ),
    few(["10.0.0.0/8", "10.0.0.1", "2001:db8::/32"]),
    st.none() | st.integers(0, 6),
    st.none() | st.integers(0, 6),
    few(ACTIVITIES),
    seconds,
    seconds,
)
LAST = 2**62  # sessions without a time


def time_by(order: str, session: Session) -> int:
    """Return what an order goes by, before the id."""
    match order.removesuffix(" desc"):
        case "id":
            return 0
        case "connect_time":
            return session.connect_time.seconds
        case "last_active_time":
            known = session.HasField("last_active_time")
            return session.last_active_time.seconds if known else LAST
    known = session.activity.HasField("since_time")
    return session.activity.since_time.seconds if known else LAST


class Work(NamedTuple):
    """A page that is being made, and what was asked for."""

    steps: Steps[Page]
    wanted: Wanted
    order: str
    mask: Sequence[str]
    begun: int  # revision


class Count(NamedTuple):
    """A count that is being made, and what was asked for."""

    steps: Steps[bytes]
    wanted: Wanted
    by: Sequence[CountBy]
    start: int
    size: int
    begun: int  # revision


def counted_values(session: Session, by: Sequence[CountBy]) -> tuple[Any, ...]:
    """Return what a session is counted by; None is not set."""
    activity = session.activity.state or None
    found = {
        "SERVICE": session.service or None,
        "SOURCE": session.source,
        "STATE": session.state,
        "ACTIVITY": activity,
        "REMOTE": session.remote.removeprefix("::ffff:") if session.HasField("remote") else None,
        "USER": session.user if session.HasField("user") else None,
        "DATABASE": session.database if session.HasField("database") else None,
        "APPLICATION": session.application if session.HasField("application") else None,
    }
    return tuple(found[CountBy.Name(one).removeprefix("COUNT_BY_")] for one in by)


def group_values(group: SessionGroup) -> tuple[Any, ...]:
    """Return the values of a group likewise."""
    names = [each.WhichOneof("value") for each in group.values]
    return tuple(
        None if name is None else getattr(each, name)
        for name, each in zip(names, group.values, strict=True)
    )


class TableMachine(RuleBasedStateMachine):
    """Small blocks and lists, so that few sessions are many; a log that loses old changes."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        for module, name, value in (
            (sorted_sequence, "_BLOCK", 4),
            (sorted_sequence, "_LONGEST", 8),
            (sorted_sequence, "_SHORTEST", 2),
            (index, "_FEW", 4),
            (indexes, "_LOOKED_UP", 1),
            (counts, "_AT_ONCE", 2),
            (counts, "_ENCODED", 3),
            (counts, "_MANY", 12),
            (counts, "_FEW", 1),
            (value_counts, "_AT_ONCE", 3),
            (value_counts, "_DICTS", 4),
            (filtered, "_SHORT", 3),
            (filtered, "_LOOKED_AT", 2),
            (filtered, "_AT_ONCE", 5),
            (filtered, "_FEW_CHANGES", 3),
            (filtered, "_SCANNED", 2),
            (filtered, "_KEPT", 3),
            (table_module, "_AT_ONCE", 3),
            (table_module, "_MASKED", 2),
        ):
            self.patch.setattr(module, name, value)
        self.table = SessionTable(["s", "t"], 100, lambda: Timestamp(seconds=NOW), log_bytes=12_000)
        self.live: dict[int, Session] = {}
        self.states: dict[int, dict[int, Session]] = {100: {}}
        self.work: list[Work | Count] = []

    def teardown(self) -> None:
        self.patch.undo()

    @initialize(upserts=st.dictionaries(ids, sessions, min_size=20))
    def start(self, upserts: dict[int, Session]) -> None:
        self.change(upserts, set())

    @rule(upserts=st.dictionaries(ids, sessions, max_size=25), removals=st.sets(ids, max_size=25))
    def change(self, upserts: dict[int, Session], removals: set[int]) -> None:
        for ident, session in upserts.items():
            session.id = ident
            session.connect_time.FromSeconds(ident % 7)
        self.table.apply(upserts.values(), removals)
        self.live = {i: one for i, one in self.live.items() if i not in removals} | upserts
        self.states[self.table.revision] = self.live

    @rule(
        wanted=filters,
        order=st.sampled_from(
            [f"{order}{way}" for order in indexes.PLACES for way in ("", " desc")]
        ),
        mask=st.sampled_from([(), ("id", "user", "remote")]),
    )
    def begin(self, wanted: Wanted, order: str, mask: Sequence[str]) -> None:
        request = ListSessionsRequest(
            filter=wanted.message(), order_by=order, read_mask=FieldMask(paths=mask)
        )
        steps = self.table.page(SessionQuery.parse(request))
        self.work.append(Work(steps, wanted, order, mask, self.table.revision))

    @rule(
        wanted=filters,
        by=st.lists(st.sampled_from(CountBy.values()[1:]), min_size=1, max_size=3, unique=True),
        start=st.integers(0, 3),
        size=st.integers(1, 40),
    )
    def begin_counting(self, wanted: Wanted, by: Sequence[CountBy], start: int, size: int) -> None:
        request = CountSessionsRequest(filter=wanted.message(), by=by, skip=start, page_size=size)
        steps = self.table.count(CountQuery.parse(request))
        self.work.append(Count(steps, wanted, by, start, size, self.table.revision))

    @rule(place=st.integers(0, 30), slices=st.integers(1, 4) | st.just(1000))
    def go_on(self, place: int, slices: int) -> None:
        if not self.work:
            return
        work = self.work[place % len(self.work)]
        try:
            for _ in range(slices):
                next(work.steps)
        except StopIteration as done:
            self.work.remove(work)
            if isinstance(work, Count):
                self.counts(CountSessionsResponse.FromString(done.value), work)
            else:
                self.holds(done.value, work)

    def counts(self, response: CountSessionsResponse, work: Count) -> None:
        """Check that groups are what matched at their revision, which is not before it began."""
        assert response.revision >= work.begun
        state = self.states[response.revision]
        matching = [one for one in state.values() if work.wanted.matches(one)]
        expected = Counter(counted_values(one, work.by) for one in matching)
        groups = sorted(
            expected.items(),
            key=lambda item: (-item[1], [(one is None, one) for one in item[0]]),
        )
        assert response.total_groups == len(groups)
        assert response.total_size == len(matching)
        page = [(group_values(group), group.count) for group in response.groups]
        assert page == groups[work.start : work.start + work.size]

    def holds(self, page: Page, work: Work) -> None:
        """Check that a page is what matched at its revision, which is not before it began."""
        assert page.rest.revision >= work.begun
        state = self.states[page.rest.revision]
        expected = [one for one in state.values() if work.wanted.matches(one)]
        expected.sort(key=lambda one: (time_by(work.order, one), one.id))
        if work.order.endswith(" desc"):
            expected.reverse()
        found = ListSessionsResponse.FromString(b"".join(page.pieces)).sessions
        assert [one.id for one in found] == [one.id for one in expected]
        for one, there in zip(found, expected, strict=True):
            for field in work.mask or MEMBERS:
                assert getattr(one, field) == getattr(there, field)
        assert page.total_size == len(expected)

    @invariant()
    def every_session_is_there_by_id(self) -> None:
        assert len(self.table) == len(self.live)
        assert [row.id for row in self.table.following(0, 100)] == sorted(self.live)
        assert not any(ident in self.table for ident in range(41) if ident not in self.live)

    @invariant()
    def activities_are_counted(self) -> None:
        tallies = dict(self.table.activities)
        assert tallies.keys() == {one.source for one in self.live.values()}
        for source, tally in tallies.items():
            live = [one for one in self.live.values() if one.source == source]
            assert tally.states == Counter(one.activity.state or None for one in live)
            blocked = [one.activity for one in live if one.activity.blocked_by_ids]
            assert tally.blocked == len(blocked)
            waits = [each.since_time for each in blocked if each.HasField("since_time")]
            since = min((each.ToNanoseconds() for each in waits), default=None)
            assert tally.oldest_wait == since
            begun = [
                one.activity.transaction_start_time.ToNanoseconds()
                for one in live
                if one.activity.HasField("transaction_start_time")
            ]
            assert tally.oldest_transaction == min(begun, default=None)

    @invariant()
    def nothing_is_kept_of_values_that_have_gone(self) -> None:
        rows = self.table._rows
        values = {row.group.values for row in self.table.following(0, 100)}
        assert rows._known.keys() == values
        for place, groups in enumerate(rows._fields):
            assert groups.keys() == {each[place] for each in values}
        assert len(rows.by_group) == len(values)


TableMachine.TestCase.settings = settings(max_examples=scale.times(12, 500), stateful_step_count=30)
TestTable = TableMachine.TestCase
