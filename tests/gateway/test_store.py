"""The replica's store against a naive one: any changes, snapshots and sizes of step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiongate.gateway.upstream import lookups
from sessiongate.gateway.upstream import store as store_module
from sessiongate.gateway.upstream.store import Store
from sessiongate.gateway.upstream.tallies import ServiceTally
from sessiongate.runtime.turns import finished
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    SessionRemoval,
    WatchChanges,
    WatchSessionsResponse,
    WatchSnapshot,
)

_IDS = range(1, 25)
_LISTENERS = (session_pb2.SESSION_STATE_LISTENER, session_pb2.SESSION_STATE_LISTENER_STOPPED)
_TEXTS = st.sampled_from(["", "a", "b", "\x00", "\u2028é"])
_OPTIONAL = st.none() | _TEXTS


@st.composite
def _sessions(draw: st.DrawFn) -> Session:
    given_fields = {
        name: draw(_OPTIONAL) for name in ("user", "database", "application", "remote", "native_id")
    }
    session = Session(
        id=draw(st.sampled_from(_IDS)),
        service=draw(_TEXTS),
        source=draw(st.sampled_from(["s1", "s2"])),
        **{name: text for name, text in given_fields.items() if text is not None},  # type: ignore[arg-type] # texts
    )
    # 99: of a newer core.
    session.state = draw(st.sampled_from([0, 4, 5, 10, 99]))  # type: ignore[assignment] # a number
    session.connect_time.seconds = draw(st.integers(0, 3))
    return session


_MESSAGES = st.lists(
    st.tuples(
        st.booleans(),  # whether a snapshot is possible
        st.lists(_sessions(), max_size=15, unique_by=lambda one: one.id),
        st.sets(st.sampled_from(_IDS), max_size=10),
    ),
    max_size=5,
)
_STEPS = st.lists(_MESSAGES, max_size=4)


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide even small steps into parts."""
    monkeypatch.setattr(store_module, "_READ", 3)
    monkeypatch.setattr(store_module, "CHANGED", 7)
    monkeypatch.setattr(store_module, "_TURN", -1)
    monkeypatch.setattr(lookups, "_AT_ONCE", 4)
    monkeypatch.setattr(lookups, "_MOST_KEPT", 90)


def _message(
    is_snapshot: bool, sessions: list[Session], removals: set[int], revision: int
) -> WatchSessionsResponse:
    if is_snapshot:
        sessions = sorted(sessions, key=lambda one: one.id)
        return WatchSessionsResponse(snapshot=WatchSnapshot(sessions=sessions))
    changes = WatchChanges(
        upserts=sessions, removals=[SessionRemoval(id=ident) for ident in removals]
    )
    return WatchSessionsResponse(changes=changes, revision=revision)


def _shown(session: Session) -> dict[str, object]:
    """Return the value of a session in each field of a selector, if it has one."""
    known = session.state in session_pb2.SessionState.values()
    shown: dict[str, object] = {
        "services": session.service,
        "states": session.state if known else 0,
    }
    for name in ("user", "database", "application", "remote"):
        if session.HasField(name):
            shown[f"{name}s"] = getattr(session, name)
    if session.HasField("native_id"):
        shown["sources"] = session.source
    return shown


def _tallies(naive: Mapping[int, Session]) -> dict[str, ServiceTally]:
    found = {}
    for name in sorted({one.service for one in naive.values()} - {""}):
        on_it = [one for one in naive.values() if one.service == name]
        listening = [one for one in on_it if one.state in _LISTENERS]
        found[name] = ServiceTally(
            tuple(sorted({one.source for one in on_it})),
            len(on_it) - len(listening),
            len(listening),
            min((one.connect_time.seconds for one in listening), default=None),
        )
    return found


def _check(store: Store, naive: Mapping[int, Session]) -> None:
    ids = sorted(naive)
    assert [row.session for row in store.all()] == [naive[ident] for ident in ids]
    assert len(store) == len(ids)
    assert store.tallies() == _tallies(naive)
    assert [*store.tallies()] == [*_tallies(naive)]
    assert store.tallies({"a", "other"}) == {
        name: tally for name, tally in _tallies(naive).items() if name == "a"
    }
    for field, values in _values().items():
        for wanted in (values[:1], values[1:3], values):
            expected = [i for i in ids if _shown(naive[i]).get(field, wanted) in wanted]
            found = store.find({field: frozenset(wanted)})
            assert [*found] == expected
            assert len(found) == len(expected)
            for place in (0, 9, 24):
                assert found.after(place, 3) == [i for i in expected if i > place][:3]
                assert found.before(place, 3) == [i for i in expected if i < place][-3:]
                assert finished(found.at(place // 2, 3)) == expected[place // 2 :][:3]
        for value in values:
            few = store.few({field: frozenset([value])})
            assert few is not None
            assert [row.session for row in few] == [
                naive[i] for i in ids if _shown(naive[i]).get(field) == value
            ]


def _values() -> Mapping[str, list[Any]]:
    texts = ["", "a", "b", "\x00", "\u2028é", "other"]
    names = ("services", "users", "databases", "applications", "remotes")
    return {
        **dict.fromkeys(names, texts),
        "sources": ["s1", "s2", "other"],
        "states": [0, 4, 10, 5, 1],
    }


@settings(max_examples=30)
@given(_STEPS)
def test_any_steps_give_what_a_naive_store_would(
    steps: list[list[tuple[bool, list[Session], set[int]]]],
) -> None:
    store, naive = Store(), dict[int, Session]()
    earlier = []
    for number, step in enumerate(steps, start=1):
        earlier.append((store.all(), sorted(naive)))
        messages = []
        for is_snapshot, sessions, removals in step:
            messages.append(_message(is_snapshot, sessions, removals, number))
            for ident in () if is_snapshot else removals:
                naive.pop(ident, None)
            naive |= {one.id: one for one in sessions}
        store.apply(messages)
        _check(store, naive)
    for rows, ids in earlier:
        assert [row.id for row in rows] == ids


@settings(max_examples=30)
@given(_STEPS, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_a_store_may_change_while_it_is_indexed(
    steps: list[list[tuple[bool, list[Session], set[int]]]], parts: list[int]
) -> None:
    store, naive = Store(), dict[int, Session]()
    for step, count in zip(steps, parts, strict=False):
        for is_snapshot, sessions, removals in step:
            for _ in islice(store.indexing(), count):  # one of several that share the work
                pass
            store.apply([_message(is_snapshot, sessions, removals, 1)])
            for ident in () if is_snapshot else removals:
                naive.pop(ident, None)
            naive |= {one.id: one for one in sessions}
    _check(store, naive)
    assert store.is_indexed


def _changed(*idents: int) -> WatchSessionsResponse:
    return _message(False, [Session(id=ident, user="a") for ident in idents], {1, 2, 3}, 9)


def test_what_is_found_stays_as_it_was() -> None:
    store = Store()
    store.apply([_changed(*range(1, 101))])
    everything, found = store.all(), store.find({"users": frozenset("a")})
    store.apply([_message(False, [], {*range(1, 100)}, 10)])
    assert [row.id for row in everything] == [*found] == [*range(1, 101)]
    assert [*store.find({"users": frozenset("a")})] == [100]
    everything, found = store.all(), store.find({"users": frozenset("a")})
    few = store.few({"users": frozenset("a")})
    assert len([*store.let_go()]) > 1
    assert few == [*everything] == store.rows(found, everything) != []
    assert len(store) == 0


def test_a_value_that_many_have_is_not_one_of_few() -> None:
    store = Store()
    store.apply([_changed(*range(1, 514))])
    assert store.few({"users": frozenset("a")}) is None
    assert store.few({"users": frozenset("ab")}) is None
    assert store.few({"users": frozenset("a"), "services": frozenset([""])}) is None
    assert store.few({"users": frozenset("b")}) == []


def test_a_step_that_takes_long_is_not_shown_half() -> None:
    def states(store: Store, *messages: WatchSessionsResponse) -> Iterator[tuple[bool, int]]:
        for _ in store.applying(messages):
            yield store.is_whole, store.revision
        yield store.is_whole, store.revision

    store = Store()
    store.apply([_changed(*range(1, 31))])
    *parts, last = states(store, _message(False, [Session(id=1)], {*range(2, 31)}, 12))
    assert {is_whole for is_whole, _ in parts} == {True, False}
    assert {revision for _, revision in parts} == {9}
    assert last == (True, 12)
    assert len(store) == 1
    assert {*states(store, _changed(40))} == {(True, 12), (True, 9)}


def test_a_step_that_takes_no_longer_than_a_turn_is_applied_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "_TURN", math.inf)
    store = Store()
    lengths = [len(store) for _ in store.applying([_changed(*range(1, 31))])]
    assert {*lengths} == {0}
    assert len(store) == 30


def test_the_index_with_the_fewest_ids_is_used() -> None:
    store = Store()
    sessions = [Session(id=ident, user="a", service=f"s{ident % 10}") for ident in range(1, 101)]
    store.apply([_message(False, sessions, set(), 1)])
    services = frozenset(["s3", "s4"])
    found = store.find({"users": frozenset("a"), "services": services})
    assert len(found) == 20
    assert Counter(ident % 10 for ident in found) == {3: 10, 4: 10}
