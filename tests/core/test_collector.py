"""The collector over a scripted source, a real table and a real ledger."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.collect import runner as collecting
from sessiongate.core.collect.collector import Collector
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.ledger.tools import rename_source
from sessiongate.core.place import id_of
from sessiongate.core.sources.base import Observation, Observed, SourceConfig, SourceError, TcpLink
from sessiongate.core.table.draft import STEP_CHANGES
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.source_service_pb2 import SourceState
from tests.core.sources import ScriptedSource, seen
from tests.servers import PATIENCE


class Scene:
    """A running collector of scripted sources."""

    def __init__(
        self,
        sources: dict[str, ScriptedSource],
        table: SessionTable,
        ledger: SqliteLedger,
        collector: Collector,
    ) -> None:
        self.collector = collector
        self.sources = sources
        self.source = next(iter(sources.values()))
        self.table = table
        self.ledger = ledger

    @property
    def ids(self) -> list[int]:
        return [ident for ident in range(1, 100) if self.table.get(ident) is not None]

    def session(self, ident: int) -> Session:
        session = self.table.get(ident)
        assert session is not None
        return session


def run(
    test: Callable[[Scene], Awaitable[None]],
    url: str = "sqlite://",
    *,
    stale_after: float = 30.0,
    timeout: float = 3600.0,
    interval: float = 0.001,
    sources: Sequence[str] = ("fake:",),
) -> None:
    options = {"interval": str(interval), "timeout": str(timeout)}

    async def main() -> None:
        configs = [SourceConfig.parse(source, options) for source in sources]
        scripted = {config.name: ScriptedSource() for config in configs}
        ledger = await SqliteLedger.open(url, now=time.time_ns)
        table = SessionTable(scripted, await ledger.ceiling(), Timestamp)
        collector = Collector(
            table,
            ledger,
            [(config, scripted[config.name]) for config in configs],
            stale_after=stale_after,
            now=time.time_ns,
        )
        scene = Scene(scripted, table, ledger, collector)
        try:
            await collector.start()
            await test(scene)
        finally:
            await collector.close()
            await ledger.close()
        assert all(source.closed for source in scripted.values())

    asyncio.run(main())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MAX_BACK_OFF", 0.002)
    monkeypatch.setattr(collecting, "DUTY", 0)  # a scripted source takes as long as its test


def test_ids_follow_the_order_of_first_sight_and_are_never_given_twice() -> None:
    async def test(scene: Scene) -> None:
        scene.source.show(["b", "a"])
        await scene.source.step()
        assert scene.ids == [1, 2]
        scene.source.show(["a", "c"])
        await scene.source.step()
        assert scene.ids == [2, 3]
        scene.source.show(["b", "a"])
        await scene.source.step()
        assert scene.ids == [2, 4], "a key that had ended is a new session"

    run(test)


def test_an_unchanged_session_keeps_its_revision_and_a_changed_one_takes_a_new_one() -> None:
    async def test(scene: Scene) -> None:
        scene.source.show(["a", "b"], connected=1_500_000_000)
        await scene.source.step()
        before = [scene.session(ident).revision for ident in (1, 2)]
        top = scene.table.revision
        scene.source.fields["b"] = {"user": "app"}
        await scene.source.step()
        first, second = scene.session(1), scene.session(2)
        assert first.revision == before[0]
        assert second.revision == scene.table.revision == top + 1
        assert second.user == "app"
        assert second.connect_time.seconds == 1_500_000_000

    run(test)


def test_a_start_that_is_not_stated_is_the_first_sight_and_stays() -> None:
    async def test(scene: Scene) -> None:
        scene.source.show(["a"])
        await scene.source.step()
        session = scene.session(1)
        start = session.connect_time.ToNanoseconds()
        assert abs(start - time.time_ns()) < 60e9
        scene.source.show(["a"], connected=77)
        await scene.source.step()
        again = scene.session(1)
        assert again.connect_time.ToNanoseconds() == start

    run(test)


@pytest.mark.parametrize(("moved", "restarted"), [(1.9, False), (-1.9, False), (2.1, True)])
def test_a_moved_incarnation_beyond_the_tolerance_makes_every_key_new(
    moved: float, restarted: bool
) -> None:
    async def test(scene: Scene) -> None:
        scene.source.show(["a"])
        scene.source.incarnation = 1000.0
        await scene.source.step()
        scene.source.incarnation += moved
        await scene.source.step()
        assert scene.ids == ([2] if restarted else [1])

    run(test)


def test_a_slow_drift_of_the_incarnation_is_no_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"

    async def drift(scene: Scene) -> None:
        scene.source.show(["a"])
        for step in range(20):
            scene.source.incarnation = 1000.0 + step
            await scene.source.step()
        assert scene.ids == [1]

    async def after(scene: Scene) -> None:
        scene.source.show(["a"])
        scene.source.incarnation = 1020.0
        await scene.source.step()
        assert scene.ids == [1]

    run(drift, url)
    run(after, url)


def test_a_failing_source_keeps_its_sessions_and_is_named() -> None:
    async def test(scene: Scene) -> None:
        scene.source.show(["a"])
        await scene.source.step()
        assert scene.table.unreachable == []
        scene.source.failing = "no route"
        await scene.source.step()
        assert scene.table.unreachable == ["fake"]
        assert scene.table.source("fake").error == "no route"
        assert scene.ids == [1]
        top = scene.table.revision
        await scene.source.step()
        assert scene.table.revision == top, "failing in the same way again changes nothing"
        scene.source.failing = ""
        await scene.source.step()
        assert scene.table.unreachable == []
        assert scene.table.revision == top + 1
        assert scene.ids == [1]

    run(test)


def test_stale_sessions_go_and_come_back_with_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    async def test(scene: Scene) -> None:
        again = Observation([seen("a", connected=5)])
        scene.source.again = again
        await scene.source.step()
        shown = scene.session(1)
        first = shown.revision
        scene.source.failing = "gone"
        await scene.source.step()
        assert scene.ids == [1]
        clock.ahead += 31
        scene.table.deadlines.enforce()
        assert scene.ids == []
        assert scene.table.unseen == {1: "fake"}
        scene.source.failing = ""
        await scene.source.step()
        await scene.source.step()  # the first was under way before the clock moved
        assert scene.ids == [1]
        assert scene.table.unseen == {}
        back = scene.session(1)
        assert back.revision > first
        assert shown.revision == first, "what the table once showed is never written to"

    run(test)


def test_a_hanging_source_times_out_and_is_named() -> None:
    async def test(scene: Scene) -> None:
        scene.source.hanging = True
        await scene.source.step()
        assert scene.table.ready.is_set()
        assert scene.table.source("fake").error == "did not respond within 0.01 s"

    run(test, timeout=0.01)


def test_a_ledger_that_cannot_write_makes_the_source_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(scene: Scene) -> None:
        scene.ledger._store.database.connection.execute("PRAGMA query_only=1")
        scene.source.show(["a"])
        await scene.source.step()
        assert "readonly" in scene.table.source("fake").error
        assert scene.ids == [], "nothing is shown that was not written down"
        scene.ledger._store.database.connection.execute("PRAGMA query_only=0")
        await scene.source.step()
        assert scene.ids == [1]

    run(test)


class Clock:
    """The clock `elapsed`, which tests can advance."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        real = time.clock_gettime
        monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + self.ahead)


def hang(ledger: SqliteLedger) -> threading.Event:
    """Make the ledger hang, as on a disk that hangs, until the event is set."""
    hangs, released = threading.Event(), threading.Event()

    def work() -> None:
        hangs.set()
        released.wait()

    ledger._calls._thread.submit(work)
    hangs.wait()
    return released


async def queued(ledger: SqliteLedger) -> None:
    """Return once something waits for the ledger."""
    while not ledger._calls._thread._work_queue.qsize():  # noqa: ASYNC110 - it has no event for that
        await asyncio.sleep(0)


def test_a_core_that_was_stopped_amid_an_observation_does_not_rest_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, timeout = Clock(monkeypatch), 3600.0
    monkeypatch.setattr(collecting, "DUTY", 4)

    async def test(scene: Scene) -> None:
        await scene.source.step()
        clock.ahead += 2 * timeout  # another observation has begun
        async with asyncio.timeout(PATIENCE):
            await scene.source.step()

    run(test, timeout=timeout)


def test_a_ledger_that_hangs_is_named_and_only_who_writes_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def test(scene: Scene) -> None:
        other = scene.sources["other"]
        other.show(["still"])
        await scene.source.step()
        await other.step()
        disk = hang(scene.ledger)
        scene.source.show(["new"])
        stepping = asyncio.create_task(scene.source.step())
        await queued(scene.ledger)
        clock.ahead += 3000
        other.fields["still"] = {"user": "changed"}
        await other.step()
        assert scene.session(1).user == "changed"
        clock.ahead += 1000
        scene.table.deadlines.enforce()
        assert scene.table.unreachable == ["fake"], "the other has nothing to write"
        assert "the ledger's disk hangs" in scene.table.source("fake").error
        assert scene.ids == [1], "what is not written is not shown"
        disk.set()
        await stepping
        assert scene.table.unreachable == ["fake"], "what was read is too old by now"
        await scene.source.step()
        assert scene.table.unreachable == []
        assert scene.ids == [1, 2]

    run(test, stale_after=7200, sources=("fake:", "fake:?name=other"))


def test_who_was_held_up_says_so_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    async def test(scene: Scene) -> None:
        scene.source.show(["a"])
        await scene.source.step()
        clock.ahead += 3590
        (report,) = scene.collector.reports()
        assert report.state == SourceState.SOURCE_STATE_REACHABLE
        clock.ahead += 20
        (report,) = scene.collector.reports()
        assert report.state == SourceState.SOURCE_STATE_UNREACHABLE
        assert report.last_error == "was not read in time: the core was stopped or blocked"
        assert scene.ids == [], "it was last seen longer ago than stale_after"
        assert scene.table.unseen == {1: "fake"}
        await scene.source.step()
        assert scene.ids == [1]
        assert scene.table.unreachable == []

    run(test)


def test_a_core_whose_disk_hangs_from_the_start_becomes_ready_and_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def test(scene: Scene) -> None:
        disk = hang(scene.ledger)
        scene.source.show(["a"])
        stepping = asyncio.create_task(scene.source.step())
        await queued(scene.ledger)
        assert not scene.table.ready.is_set()
        clock.ahead += 4000
        scene.table.deadlines.enforce()
        assert scene.table.ready.is_set()
        assert scene.table.unreachable == ["fake"]
        disk.set()
        await stepping

    run(test)


async def begun(scene: Scene, keys: Iterable[str]) -> asyncio.Task[None]:
    """Let an observation of these sessions happen; return its task once a part of it is shown."""
    scene.source.show(keys)
    stepping = asyncio.create_task(scene.source.step())
    await scene.table.log.wait(scene.table.revision, 60)
    return stepping


def test_a_core_is_ready_once_the_first_large_observation_is_shown_whatever_that_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def test(scene: Scene) -> None:
        table = scene.table
        stepping = await begun(scene, map(str, range(4 * STEP_CHANGES)))
        assert 0 < len(table) < 4 * STEP_CHANGES
        clock.ahead += 3700
        table.deadlines.enforce()
        assert not table.ready.is_set(), "a part is not all"
        await stepping
        assert table.ready.is_set()
        assert table.unreachable == ["fake"], "it was read an hour ago"
        assert "not shown in time: the core is busy" in table.source("fake").error
        await scene.source.step()
        assert table.unreachable == []
        stepping = await begun(scene, ["new", *map(str, range(2 * STEP_CHANGES))])
        clock.ahead += 3700
        table.deadlines.enforce()
        assert "not shown in time: the core is busy" in table.source("fake").error
        await stepping

    run(test, stale_after=7200)


def test_a_source_is_read_again_at_once_if_it_took_too_long_to_show_what_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is unreachable until then, and has had its pause meanwhile."""
    clock = Clock(monkeypatch)

    async def test(scene: Scene) -> None:
        table = scene.table
        stepping = await begun(scene, map(str, range(4 * STEP_CHANGES)))
        assert 0 < len(table) < 4 * STEP_CHANGES
        clock.ahead += 3600 + 7200
        async with asyncio.timeout(PATIENCE):
            await stepping  # until it is read again
        assert table.unreachable == ["fake"]
        reading = asyncio.create_task(scene.source.step())
        async with asyncio.timeout(PATIENCE):
            while table.unreachable:
                await table.log.wait(table.revision, 60)
        reading.cancel()  # in time, so that the next one has an hour

    run(test, stale_after=36000, interval=3600.0)


def test_what_was_open_before_a_restart_is_unseen_until_its_source_answers(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"

    async def first(scene: Scene) -> None:
        scene.source.show(["a", "b"])
        await scene.source.step()

    async def second(scene: Scene) -> None:
        assert scene.table.unseen == {1: "fake", 2: "fake"}
        scene.source.show(["c", "b"])
        await scene.source.step()
        assert scene.ids == [2, 3]
        assert scene.table.unseen == {}

    run(first, url)
    run(second, url)


def test_what_is_beyond_max_sessions_is_left_out_and_what_was_known_stays() -> None:
    async def test(scene: Scene) -> None:
        scene.source.show(["b", "c"])
        await scene.source.step()
        scene.source.show(["a", "b", "c", "d"])
        await scene.source.step()
        assert scene.collector.reports()[0].truncated
        assert scene.ids == [1, 2, 3]
        await scene.source.step()
        assert scene.ids == [1, 2, 3]

    run(test, sources=["fake:?max_sessions=3"])


def test_both_ends_of_a_connection_are_linked_while_both_are_seen() -> None:
    wire = TcpLink(("10.0.0.5", 40000), ("10.0.0.7", 5432), 77)

    async def test(scene: Scene) -> None:
        proxy, server = scene.sources.values()
        proxy.again = Observation([Observed("p", seen("p").session, opened=(wire,))])
        await proxy.step()
        server.again = Observation([Observed("s", seen("s").session, accepted=wire)])
        await server.step()
        assert list(scene.session(1).upstream_ids) == [2]
        assert list(scene.session(2).downstream_ids) == [1]
        top = scene.table.revision
        await proxy.step()
        await server.step()
        assert scene.table.revision == top, "a link that stays is no change"
        server.again = Observation([])
        await server.step()
        assert list(scene.session(1).upstream_ids) == []
        assert scene.ids == [1], "a link keeps no session that has ended"

    run(test, sources=["fake:proxy", "fake:server"])


def test_a_source_that_hangs_does_not_slow_another() -> None:
    async def test(scene: Scene) -> None:
        slow, quick = scene.sources.values()
        slow.hanging = True
        quick.show(["a"])
        stuck = asyncio.create_task(slow.step())
        for _ in range(20):
            await quick.step()
        assert not stuck.done()
        assert scene.ids == [1]
        stuck.cancel()

    run(test, sources=["fake:slow", "fake:quick"])


def test_a_report_says_how_reading_the_source_goes() -> None:
    async def test(scene: Scene) -> None:
        (report,) = scene.collector.reports()
        assert (report.name, report.kind) == ("fake", "fake")
        assert report.state == SourceState.SOURCE_STATE_PENDING
        assert not report.HasField("last_success_time")
        scene.source.show(["a", "b"])
        await scene.source.step()
        (report,) = scene.collector.reports()
        assert report.state == SourceState.SOURCE_STATE_REACHABLE
        assert report.session_count == 2
        assert abs(report.last_success_time.ToNanoseconds() - time.time_ns()) < 60e9
        assert report.observation_duration.ToNanoseconds() > 0
        assert (report.last_error, report.truncated) == ("", False)
        scene.source.failing = "no route"
        await scene.source.step()
        (report,) = scene.collector.reports()
        assert report.state == SourceState.SOURCE_STATE_UNREACHABLE
        assert (report.session_count, report.last_error) == (2, "no route")
        assert report.HasField("last_error_time")
        scene.source.failing = ""
        await scene.source.step()
        (report,) = scene.collector.reports()
        assert report.state == SourceState.SOURCE_STATE_REACHABLE
        assert report.last_error == "no route"

    run(test)


def again(key: str, former: str) -> Observed:
    return Observed(key, seen(key).session, former=former)


def test_a_session_whose_key_was_in_another_form_keeps_its_id(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"

    async def before(scene: Scene) -> None:
        scene.source.show(["a", "b", "c"], connected=5)
        await scene.source.step()

    async def after(scene: Scene) -> None:
        rows = [again("b 7", "b"), again("a 9", "a"), seen("d")]
        scene.source.again = Observation(rows)
        await scene.source.step()
        assert scene.ids == [1, 2, 4], "only the one that is gone has ended"
        assert scene.session(2).connect_time.seconds == 5
        held = (await scene.ledger.held())["fake"]
        assert {key: id_of(place) for key, place in held.items()} == {"a 9": 1, "b 7": 2, "d": 4}

    async def then(scene: Scene) -> None:
        scene.source.again = Observation([again("b 8", "b")])
        await scene.source.step()
        assert scene.ids == [5], "another one in its place is another session"

    for test in (before, after, then):
        run(test, url)


def test_a_source_that_is_read_from_another_place_is_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"

    async def show(scene: Scene) -> None:
        scene.source.show(["a", "b"])
        await scene.source.step()

    async def first(scene: Scene) -> None:
        scene.source.incarnation = 1000.0
        await show(scene)
        assert scene.ids == [1, 2]

    async def one_server(scene: Scene) -> None:
        await first(scene)
        assert "another place" not in caplog.text

    async def another(scene: Scene) -> None:
        await show(scene)
        assert scene.ids == [3, 4]

    async def the_same(scene: Scene) -> None:
        await show(scene)
        assert scene.ids == [3, 4]

    run(first, url, sources=["fake://one?name=db"])
    run(one_server, url, sources=["fake://user:secret@two?name=db"])
    run(another, url, sources=["fake://three?name=db"])
    run(the_same, url, sources=["fake://three?name=db"])
    (text,) = [record.getMessage() for record in caplog.records if "another" in record.msg]
    assert text == "source db is read from another place: ended 2 sessions of fake://two"


def test_names_that_exchange_their_places_are_refused_until_it_is_confirmed(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"

    async def show(scene: Scene) -> None:
        for name, source in scene.sources.items():
            source.show([f"of {name}"])
            await source.step()

    async def exchanged(scene: Scene) -> None:
        scene.sources["a"].show(["of b"])
        scene.sources["b"].show(["of a"])
        for source in scene.sources.values():
            await source.step()
        assert {scene.session(ident).source: ident for ident in (1, 2)} == {"b": 1, "a": 2}
        assert scene.ids == [1, 2]

    run(show, url, sources=["fake://u:secret@one?name=a", "fake://two?name=b"])
    swapped = ["fake://u:secret@two?name=a", "fake://one?name=b"]
    for sources in (swapped, ["fake://other?name=a", "fake://one?name=c"]):
        with pytest.raises(LedgerError, match=r"sessiongate ledger rename a [bc]") as caught:
            run(exchanged, url, sources=sources)
        assert "secret" not in str(caught.value)
    with pytest.raises(LedgerError, match="has no source 'c'; its sources: a, b"):
        rename_source(url, "c", "d")
    rename_source(url, "a", "b")
    run(exchanged, url, sources=swapped)


def test_an_object_stated_again_is_unchanged_but_for_its_links() -> None:
    wire = TcpLink(("10.0.0.5", 40000), ("10.0.0.7", 5432), 77)
    kept = Observed("kept", seen("kept").session, accepted=wire)

    async def test(scene: Scene) -> None:
        server, proxy = scene.sources.values()
        server.again = Observation([kept, seen("other")])
        await server.step()
        first = scene.session(1)
        server.again = Observation([kept])
        await server.step()
        assert scene.session(1) == first
        proxy.again = Observation([Observed("p", seen("p").session, opened=(wire,))])
        await proxy.step()
        assert list(scene.session(1).downstream_ids) == [3]
        server.again = Observation([kept, seen("another")])
        await server.step()
        assert list(scene.session(1).downstream_ids) == [3], "what others told stays"

    run(test, sources=["fake:server", "fake:proxy"])


@pytest.mark.parametrize("seed", range(10))
def test_links_are_right_whatever_another_source_shows_meanwhile(seed: int) -> None:
    drawn = random.Random(seed)
    wires = [TcpLink(("10.0.0.5", 40000 + n), ("10.0.0.7", 5432), 77 + n) for n in range(4)]
    # The same objects are stated again, too.
    proxied = [Observed(f"p{n}", seen("p").session, opened=(wire,)) for n, wire in enumerate(wires)]
    served = [Observed(f"s{n}", seen("s").session, accepted=wire) for n, wire in enumerate(wires)]

    def some(fixed: list[Observed]) -> Observation:
        chosen = drawn.sample(fixed, drawn.randint(0, len(fixed)))
        return Observation(
            [
                item
                if drawn.random() < 0.5
                else Observed(item.key, seen("x").session, item.accepted, item.opened)
                for item in chosen
            ]
        )

    async def test(scene: Scene) -> None:
        proxy, server = scene.sources.values()
        for _ in range(20):
            proxy.again, server.again = some(proxied), some(served)
            await asyncio.gather(proxy.step(), server.step())
            idents = {wire: [0, 0] for wire in wires}
            for end, name in enumerate(scene.sources):
                for key, place in (await scene.ledger.held())[name].items():
                    idents[wires[int(key[1:])]][end] = id_of(place)
            for above, below in idents.values():
                if above:
                    assert list(scene.session(above).upstream_ids) == ([below] if below else [])
                if below:
                    assert list(scene.session(below).downstream_ids) == ([above] if above else [])

    run(test, sources=["fake:proxy", "fake:server"])


def test_a_linked_session_that_goes_stale_leaves_and_takes_its_links_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    wire = TcpLink(("10.0.0.5", 40000), ("10.0.0.7", 5432), 77)

    async def test(scene: Scene) -> None:
        proxy, server = scene.sources.values()
        proxy.again = Observation([Observed("p", seen("p").session, opened=(wire,))])
        await proxy.step()
        server.again = Observation([Observed("s", seen("s").session, accepted=wire)])
        await server.step()
        server.failing = "gone"
        await server.step()
        assert list(scene.session(1).upstream_ids) == [2]
        clock.ahead += 31
        scene.table.deadlines.enforce()
        assert scene.ids == [1]
        assert list(scene.session(1).upstream_ids) == []
        server.failing = ""
        await server.step()
        await server.step()  # the first was under way before the clock moved
        assert list(scene.session(1).upstream_ids) == [2]

    run(test, sources=["fake:proxy", "fake:server"])


def test_an_unchanged_object_is_a_new_session_after_a_restart() -> None:
    async def test(scene: Scene) -> None:
        kept = seen("kept")
        scene.source.again = Observation([kept], 100.0)
        await scene.source.step()
        scene.source.again = Observation([kept], 200.0)
        await scene.source.step()
        assert scene.ids == [2]

    run(test)


@pytest.mark.parametrize(
    "fault", [SourceError("bad \ud800"), asyncio.CancelledError(), RuntimeError("?")]
)
def test_whatever_a_source_raises_it_is_asked_again(fault: BaseException) -> None:
    async def test(scene: Scene) -> None:
        scene.source.show(["a"])
        await scene.source.step()
        scene.source.raising = fault
        await scene.source.step()
        assert scene.table.unreachable == ["fake"]
        scene.source.raising = None
        await scene.source.step()
        assert scene.table.unreachable == []

    run(test)


class ClosingSource(ScriptedSource):
    """Does not close as it should, and ignores the request to stop observing."""

    def __init__(self, fault: BaseException | None) -> None:
        super().__init__()
        self._fault = fault

    async def observe(self) -> Observation:
        try:
            return await super().observe()
        except asyncio.CancelledError:
            await asyncio.Event().wait()
            raise

    async def close(self) -> None:
        if self._fault is not None:
            raise self._fault
        await asyncio.Event().wait()


@pytest.mark.parametrize("fault", [OSError("swordfish"), None])
def test_a_source_that_does_not_close_keeps_nobody_from_ending(
    fault: BaseException | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(collecting, "SOURCE_CLOSE_TIMEOUT", 0.01)

    async def main() -> None:
        bad, good = ClosingSource(fault), ScriptedSource()
        ledger = await SqliteLedger.open("sqlite://", now=time.time_ns)
        sources = [(SourceConfig.parse("fake:bad"), bad), (SourceConfig.parse("fake:good"), good)]
        collector = Collector(
            SessionTable(["bad", "good"], 0, Timestamp),
            ledger,
            sources,
            stale_after=30.0,
            now=time.time_ns,
        )
        await collector.start()
        await asyncio.sleep(0)  # both observations are under way now
        async with asyncio.timeout(PATIENCE):
            await collector.close()
        assert good.closed
        await ledger.close()

    asyncio.run(main())
    assert "source bad failed to close" in caplog.text
    assert "swordfish" not in caplog.text
