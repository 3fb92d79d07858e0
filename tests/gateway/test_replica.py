"""The replica: always the table at some revision, never older, used only while provably new."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, cast

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sessiongate.client.reflector
import sessiongate.gateway.upstream.replica
import sessiongate.gateway.upstream.store
from sessiongate.client.errors import CallError
from sessiongate.gateway.representation.row import SessionRow, write_all
from sessiongate.gateway.representation.session import session_resource
from sessiongate.gateway.upstream import lookups
from sessiongate.gateway.upstream.replica import Replica
from sessiongate.gateway.upstream.selector import EVERYTHING, Selector
from sessiongate.gateway.upstream.store import Store
from sessiongate.gateway.upstream.version import NO_VERSION
from sessiongate.gateway.upstream.views import Batch, DirectView, ReplicaView
from sessiongate.runtime.turns import finished
from sessiongate.v1.session_pb2 import Session, SessionState
from sessiongate.v1.session_service_pb2 import (
    SessionRemoval,
    SourceStatus,
    WatchChanges,
    WatchProgress,
    WatchSessionsRequest,
    WatchSessionsResponse,
    WatchSnapshot,
    WatchSync,
)
from tests.faults.scale import times
from tests.garbage import visited


def session(ident: int, user: str = "app") -> Session:
    return Session(id=ident, service="s", user=user, state=SessionState.SESSION_STATE_STARTED)


def snapshot(*idents: int) -> WatchSessionsResponse:
    return WatchSessionsResponse(snapshot=WatchSnapshot(sessions=map(session, idents)))


def marked(response: WatchSessionsResponse, revision: int, as_of: float) -> WatchSessionsResponse:
    response.revision = revision
    response.as_of.FromNanoseconds(int(as_of * 1e9))
    response.update_time.FromSeconds(revision)
    return response


def sync(revision: int, as_of: float, *unreachable: str) -> WatchSessionsResponse:
    sources = [SourceStatus(name=name, reachable=False) for name in unreachable]
    return marked(WatchSessionsResponse(sync=WatchSync(sources=sources)), revision, as_of)


def progress(revision: int, as_of: float) -> WatchSessionsResponse:
    return marked(WatchSessionsResponse(progress=WatchProgress()), revision, as_of)


def changes(upserts: list[int], removals: list[int]) -> WatchSessionsResponse:
    return WatchSessionsResponse(
        changes=WatchChanges(
            upserts=map(session, upserts), removals=[SessionRemoval(id=i) for i in removals]
        )
    )


class ScriptedCore:
    """Streams what it is told to, to one replica; ``asked`` holds the requests."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._events: asyncio.Queue[WatchSessionsResponse | Exception] = asyncio.Queue()
        self.waiting = asyncio.Event()

    async def watch(self, request: WatchSessionsRequest) -> AsyncGenerator[WatchSessionsResponse]:
        self.asked.append(request.resume_revision)
        while True:
            if self._events.empty():
                self.waiting.set()
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            try:
                yield event
            except GeneratorExit:  # the stream's remaining messages are lost with it
                while not self._events.empty():
                    self._events.get_nowait()
                raise

    async def send(self, *events: WatchSessionsResponse | Exception) -> None:
        """Send, and wait until everything is taken."""
        self.waiting.clear()
        for event in events:
            self._events.put_nowait(event)
        await self.waiting.wait()


class Stage:
    """A replica that follows a scripted core, by a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.core = ScriptedCore()
        self.replica = Replica(self.core.watch, staleness=2.0, clock=lambda: self.now)

    @property
    def ids(self) -> list[int]:
        return [entry.id for entry in self.replica.store.at(0, 1000)]


def run(test: Callable[[Stage], object]) -> None:
    async def main() -> None:
        stage = Stage()
        following = asyncio.create_task(stage.replica.run())
        await stage.core.waiting.wait()
        await test(stage)  # type: ignore[misc] # an async function
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following

    asyncio.run(main())


def ended(code: grpc.StatusCode) -> CallError:
    return CallError(code, None, "the end")


def test_it_is_current_from_the_sync_for_as_long_as_marks_come() -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(1, 2), snapshot(5))
        assert not stage.replica.current
        await stage.core.send(sync(10, 0.5, "b", "a"))
        assert stage.replica.current
        assert stage.ids == [1, 2, 5]
        assert stage.replica.store.revision == 10
        assert stage.replica.store.gaps.unreachable == ("a", "b")
        stage.now += 2.0
        assert stage.replica.current
        stage.now += 0.1
        assert not stage.replica.current
        await stage.core.send(progress(10, 2.6))
        assert stage.replica.current

    run(test)


def test_marks_that_lay_in_a_buffer_do_not_look_fresh() -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(sync(10, 0.0))
        stage.now += 30
        await stage.core.send(progress(10, 1.0), progress(10, 2.0), progress(10, 3.0))
        assert stage.replica.age == pytest.approx(29.0)
        assert not stage.replica.current
        assert stage.core.asked == [0, 10], "a new stream comes past what lies in the buffer"
        await stage.core.send(progress(10, 0.0))
        assert stage.replica.current

    run(test)


def test_a_first_mark_that_was_delayed_proves_nothing_newer() -> None:
    async def test(stage: Stage) -> None:
        stage.now += 5
        await stage.core.send(sync(10, 0.0))
        assert stage.replica.age == pytest.approx(5.0)
        assert not stage.replica.current

    run(test)


def test_a_core_that_was_slow_to_begin_does_not_make_the_copy_look_old_for_ever() -> None:
    async def test(stage: Stage) -> None:
        stage.now += 1.8
        await stage.core.send(snapshot(1), sync(10, 0.3))
        assert stage.replica.age == pytest.approx(1.5)
        assert stage.core.asked == [0, 10]
        stage.now += 0.2
        assert stage.replica.current, "what the last stream proved stays so"
        stage.now += 0.1
        await stage.core.send(progress(10, 0.1))
        assert stage.replica.age == pytest.approx(0.2)
        stage.now += 0.9
        await stage.core.send(progress(10, 1.0))
        assert stage.replica.age == pytest.approx(0.2)
        assert stage.core.asked == [0, 10]

    run(test)


def test_a_slow_way_is_not_asked_again_and_again() -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(sync(10, 0.0))
        began = stage.now
        for _ in range(60):  # each mark comes 1.5 s late
            stage.now += 0.9
            streams = len(stage.core.asked)
            await stage.core.send(progress(10, max(0.0, stage.now - began - 1.5)))
            if len(stage.core.asked) > streams:
                began = stage.now
        assert 5 <= len(stage.core.asked) <= 10

    run(test)


def test_a_stream_is_renewed_before_clocks_drift_apart() -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(sync(10, 0.0))
        for second in range(1, 61):
            stage.now += 1
            await stage.core.send(progress(10, float(second)))
            assert stage.replica.current
        assert stage.core.asked == [0, 10]

    run(test)


def test_a_clock_that_stood_still_here_is_noticed_by_the_next_prompt_mark() -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(sync(10, 0.0))
        await stage.core.send(progress(10, 9.0))  # while none passed here
        assert stage.replica.age == pytest.approx(0.0)
        stage.now += 1.5
        await stage.core.send(progress(10, 9.5))
        assert stage.replica.age == pytest.approx(1.0)

    run(test)


@settings(max_examples=times(50, 1000))
@given(
    begins=st.lists(st.floats(0, 12), min_size=1, max_size=30),
    delays=st.lists(st.floats(0, 12), min_size=1, max_size=60),
)
def test_however_messages_are_delayed_the_copy_is_never_older_than_its_age(
    begins: list[float], delays: list[float]
) -> None:
    """Streams begin late, and marks arrive late, by any delay, in order."""

    async def test(stage: Stage) -> None:
        streams, began, marked_at = 0, 0.0, 0.0
        made = 0.0  # the test's own time of the last mark applied
        for number, delay in enumerate(delays):
            if len(stage.core.asked) != streams:  # a stream was just requested
                streams = len(stage.core.asked)
                began = stage.now + begins[streams % len(begins)]
                marked_at = began
            stage.now = max(stage.now, marked_at + delay)  # messages arrive in order
            mark = progress if number else sync
            await stage.core.send(mark(10, marked_at - began))
            made = max(made, marked_at)
            marked_at += 0.9
            assert stage.replica.age is not None
            # as_of is cut to nanoseconds
            assert stage.replica.age >= stage.now - made - 1e-6

    run(test)


def test_changes_show_only_once_the_table_was_in_that_state() -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(1, 2), sync(10, 0.0))
        await stage.core.send(changes([3], [1]))
        assert stage.ids == [1, 2]
        await stage.core.send(marked(changes([4], [2, 99]), 15, 0.1))
        assert stage.ids == [3, 4]
        assert stage.replica.store.revision == 15
        assert stage.replica.store.changed == 15

    run(test)


def test_a_cut_stream_is_resumed_and_what_was_incomplete_is_dropped() -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(1), sync(10, 0.0), changes([7], []))
        await stage.core.send(ended(grpc.StatusCode.UNAVAILABLE))
        assert stage.core.asked == [0, 10]
        assert not stage.replica.current, "an old stream proves nothing"
        await stage.core.send(marked(changes([8], []), 12, 0.0))
        assert stage.ids == [1, 8]
        assert stage.replica.current

    run(test)


def test_out_of_range_starts_over_and_keeps_nothing() -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(1), sync(10, 0.0))
        await stage.core.send(ended(grpc.StatusCode.OUT_OF_RANGE))
        assert stage.core.asked == [0, 0]
        await stage.core.send(snapshot(2))
        await stage.core.send(ended(grpc.StatusCode.UNAVAILABLE))
        assert stage.core.asked == [0, 0, 0]
        await stage.core.send(snapshot(3), sync(4, 0.0))
        assert stage.ids == [3]
        assert stage.replica.store.revision == 4

    run(test)


def test_a_copy_that_cannot_be_completed_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The log of changes goes on without a copy that is slower than the table."""

    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(1), ended(grpc.StatusCode.OUT_OF_RANGE))
        assert stage.core.asked == [0, 0]
        await stage.core.send(snapshot(1), sync(10, 0.0))
        assert stage.ids == [1]

    run(test)
    assert "cannot be followed" in caplog.text


def test_a_core_that_is_silent_is_followed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessiongate.client.reflector, "SILENCE", 0.05)

    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(1), sync(10, 0.0))
        while stage.core.asked.count(10) < 2:
            stage.core.waiting.clear()
            await stage.core.waiting.wait()
        assert not stage.replica.current
        assert stage.ids == [1]

    run(test)


def test_it_outlives_what_nobody_expected() -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(1), sync(10, 0.0))
        await stage.core.send(OSError("no descriptors left"))
        assert stage.core.asked == [0, 0]
        await stage.core.send(snapshot(3), sync(12, 0.0))
        assert stage.ids == [3]

    run(test)


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.sets(st.integers(1, 30), max_size=6), st.sets(st.integers(1, 30), max_size=6)),
        max_size=15,
    ),
    together=st.integers(1, 4),
)
def test_a_store_holds_exactly_what_it_was_told(
    steps: list[tuple[set[int], set[int]]], together: int
) -> None:
    store = Store()
    live: set[int] = set()
    batch: list[WatchSessionsResponse] = []
    for number, (upserts, removals) in enumerate(steps, start=1):
        live = (live - removals) | upserts
        batch.append(changes(list(upserts), list(removals)))
        if number % together and number != len(steps):
            continue
        store.apply(batch)
        batch.clear()
        ordered = sorted(live)
        assert [entry.id for entry in store.at(0, 100)] == ordered
        assert len(store) == len(live)
        middle = 15
        assert [e.id for e in store.after(middle, 3)] == [i for i in ordered if i > middle][:3]
        assert [e.id for e in store.before(middle, 3)] == [i for i in ordered if i < middle][-3:]
        assert all((store.get(i) is not None) == (i in live) for i in range(31))


texts = st.text(max_size=8) | st.sampled_from(['"idle":0.0', "\x01", "\x02", '\\"', "\u2028"])


@given(
    user=texts,
    attributes=st.dictionaries(texts | st.just("idle"), texts, max_size=3),
    active=st.none() | st.integers(0, 10**6),
    base=st.sampled_from(["http://localhost:8989", "https://[::1]/x"]),
)
def test_a_rendered_session_is_its_resource_for_every_host_and_second(
    user: str, attributes: dict[str, str], active: int | None, base: str
) -> None:
    one = session(7, user)
    one.connection_attributes.update(attributes)
    if active is not None:
        one.last_active_time.FromMilliseconds(active)
    rendered = SessionRow(one)
    for now in (random.Random(1).random() * 2000, 5000.0):
        expected = session_resource(one, base, now)
        assert json.loads(rendered.write(base.encode(), now)) == expected
        assert json.loads(b"[" + write_all([rendered] * 2, base, now) + b"]") == [
            expected,
            expected,
        ]


def test_a_store_is_empty_before_it_is_told() -> None:
    store = Store()
    assert (len(store), store.revision, store.changed) == (0, 0, 0)


def test_that_the_core_is_lost_and_is_back_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(1), sync(10, 0.5))
        for _ in range(5):
            await stage.core.send(ended(grpc.StatusCode.UNAVAILABLE))
        stage.now += 7.5
        await stage.core.send(progress(10, 9.0))
        await stage.core.send(progress(10, 9.5))

    run(test)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the core's sessions cannot be followed: the end; asking again"),
        ("WARNING", "the core's sessions are followed again, after 7.5 s"),
    ]


def test_a_state_that_is_still_being_applied_proves_nothing() -> None:
    async def test(stage: Stage) -> None:
        ids = [*range(1, 201)]  # few enough to be applied with the sync
        sending = asyncio.create_task(stage.core.send(snapshot(*ids), sync(7, 0.0)))
        while not sending.done():
            assert not stage.replica.current or stage.ids == ids
            await asyncio.sleep(0)
        assert stage.replica.current
        assert stage.ids == ids

    run(test)


ASKED: dict[str, Callable[[ReplicaView], Coroutine[Any, Any, object]]] = {
    "a session": lambda view: view.get(1500),
    "a page": lambda view: view.rows(EVERYTHING, 2000),
    "all": lambda view: _all_of(view),
    "tallies": lambda view: view.tallies(),
    "services": lambda view: view.services(),
    "a check": lambda view: view.check(),
}


async def _all_of(view: ReplicaView) -> object:
    return [part async for part in view.scan(EVERYTHING)]


@pytest.mark.parametrize("asked", ASKED)
def test_who_asks_while_a_state_is_being_applied_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(sessiongate.gateway.upstream.store, "_TURN", -1)  # a turn for each part

    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(1), sync(7, 100.0))
        view = ReplicaView(stage.replica, cast("DirectView", None))  # it cannot ask the core
        added = changes([*range(2, 2000)], [])
        sending = asyncio.create_task(stage.core.send(marked(added, 8, 100.0)))
        while stage.replica.store.is_whole:
            assert not sending.done()
            await asyncio.sleep(0)
        assert not stage.replica.current
        meanwhile = await ASKED[asked](view)
        assert stage.replica.store.revision == 8
        assert meanwhile == await ASKED[asked](view)
        await sending

    run(test)


class CoreThatFinds:
    """Stands for a view of the core that finds no session, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def rows(self, *_: object, **__: object) -> Batch:
        self.asked += 1
        return Batch((), 0, NO_VERSION)


def test_the_core_finds_sessions_until_a_large_store_is_indexed() -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(*range(1, 5001)), sync(7, 100.0))
        core = CoreThatFinds()
        view = ReplicaView(stage.replica, cast("DirectView", core))
        wanted = Selector(users=frozenset(["app"]))
        assert (await view.rows(wanted, 10)).total == 0
        assert (await view.rows(wanted, 10)).total == 0
        assert core.asked == 2
        for _ in range(1000):  # each of which indexes a part
            await asyncio.sleep(0)
        assert (await view.rows(wanted, 10)).total == 5000
        assert core.asked == 2

    run(test)


@pytest.mark.parametrize("services", [frozenset(["s"]), None])
def test_who_asks_what_the_core_cannot_look_up_waits_until_a_store_is_indexed(
    services: frozenset[str] | None,
) -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(*range(1, 5001)), sync(7, 100.0))
        view = ReplicaView(stage.replica, cast("DirectView", None))  # it cannot ask the core
        remote = Selector(remotes=frozenset(["192.0.2.1"]))
        rows, (tallies, _) = await asyncio.gather(view.rows(remote, 10), view.tallies(services))
        assert rows.total == 0
        assert tallies["s"].connections == 5000

    run(test)


def test_a_store_that_is_dropped_is_not_indexed_further(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(stage: Stage) -> None:
        await stage.core.send(snapshot(*range(1, 5001)), sync(7, 100.0))
        dropped = stage.replica.store
        stage.replica.index_later()
        waiting = stage.replica.indexing()  # what a request does that waits
        next(waiting)
        await stage.core.send(ended(grpc.StatusCode.OUT_OF_RANGE))
        await stage.core.send(snapshot(1), sync(8, 100.0))
        assert [*waiting] == []
        assert not dropped.is_indexed
        kept = weakref.ref(dropped)
        del dropped, waiting
        for _ in range(1000):  # each of which frees a part
            await asyncio.sleep(0)
        assert kept() is None

    monkeypatch.setattr(lookups, "_AT_ONCE", 1)  # it would take 5,000 rounds of the loop
    run(test)


def test_no_search_for_garbage_visits_each_session() -> None:
    store = Store()
    before = visited()
    store.apply([snapshot(*range(1, 1000))])
    finished(store.indexing())
    store.apply([changes([*range(500, 1500)], [*range(1, 100)])])
    assert len(store) == 1400
    assert visited() - before < 200
