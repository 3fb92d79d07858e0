"""Observations that are incomplete: what they cost, and what is reported of it."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from sessiongate.core.collect import runner as collecting
from sessiongate.core.sources.base import (
    Observation,
    Observed,
    SourceConnectError,
    SourceError,
    Unreadable,
)
from sessiongate.v1.session_pb2 import BackendConnection, Session
from sessiongate.v1.session_service_pb2 import ServiceStatus
from tests.core.sources import seen
from tests.core.test_collector import Clock, Scene, run

LOST = (Unreadable("/data/3/id: expected a string"),)


def lacking(key: str, name: str, database: str | None = None, port: int | None = None) -> Observed:
    """Make a session that has one unreadable member."""
    session = Session(database=database, port=port)
    return Observed(key, session, unreadable=(Unreadable(f"{name}: expected it", (name,)),))


def users(scene: Scene) -> dict[int, str]:
    return {ident: scene.session(ident).user for ident in scene.ids}


def test_a_member_that_cannot_be_read_stays_as_it_was_last_known() -> None:
    async def test(scene: Scene) -> None:
        scene.source.again = Observation([seen("a", user="ann", database="shop"), seen("b")])
        await scene.source.step()
        scene.source.again = Observation(
            [lacking("a", "user", database="stock"), seen("b"), lacking("c", "user", port=5)]
        )
        await scene.source.step()
        known, _, new = (scene.session(ident) for ident in scene.ids)
        assert (known.user, known.database) == ("ann", "stock")
        assert (new.HasField("user"), new.port) == (False, 5)
        assert scene.table.unreachable == scene.table.partial == []
        (report,) = scene.collector.reports()
        assert (report.unreadable_sessions, report.unreadable_members) == (0, 2)
        assert report.unreadable_example == "user: expected it"
        top = scene.table.revision
        await scene.source.step()
        assert scene.table.revision == top
        scene.source.again = Observation([lacking("a", "user", database="stock")])
        await scene.source.step()
        assert scene.session(1).user == "ann", "however often it cannot be read"
        scene.source.again = Observation([seen("a", database="stock")])
        await scene.source.step()
        assert not scene.session(1).HasField("user"), "which could be read: there is none"
        (report,) = scene.collector.reports()
        assert (report.unreadable_members, report.unreadable_example) == (0, "")

    run(test)


def test_a_list_that_never_was_read_whole_is_shown_as_far_as_it_can_be() -> None:
    def backends(unreadable: bool, *servers: str) -> Observation:
        connections = [BackendConnection(server=server) for server in servers]
        parts = (Unreadable("odd", ("connections",)),) if unreadable else ()
        return Observation([Observed("a", Session(connections=connections), unreadable=parts)])

    async def test(scene: Scene) -> None:
        for observation, servers in (
            (backends(True, "one"), ["one"]),
            (backends(True, "two"), ["two"]),
            (backends(False, "one", "two"), ["one", "two"]),
            (backends(True, "two"), ["one", "two"]),
            (backends(True, "three"), ["one", "two"]),
            (backends(False), []),
            (Observation([Observed("a", Session(known_empty=["connections"]))]), []),
            (backends(True, "four"), []),
        ):
            scene.source.again = observation
            await scene.source.step()
            assert [each.server for each in scene.session(1).connections] == servers
        assert scene.session(1).known_empty == ["connections"]

    run(test)


def test_while_a_key_cannot_be_read_no_session_of_the_source_ends() -> None:
    async def test(scene: Scene) -> None:
        scene.source.again = Observation([seen("a"), seen("b")])
        await scene.source.step()
        scene.source.again = Observation([seen("b"), seen("c")], unreadable=LOST)
        await scene.source.step()
        assert scene.ids == [1, 2, 3]
        assert scene.table.partial == ["fake"]
        assert scene.table.source("fake").partial == "some sessions could not be read"
        (report,) = scene.collector.reports()
        assert (report.unreadable_sessions, report.session_count) == (1, 3)
        assert report.unreadable_example == "/data/3/id: expected a string"
        assert report.partial == "some sessions could not be read"
        scene.source.again = Observation([seen("b")])
        await scene.source.step()
        assert scene.ids == [2]
        assert scene.table.partial == []

    run(test)


def test_what_an_incomplete_observation_lacks_ends_when_it_is_stale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(collecting, "DUTY", 0)  # the clock is set forward within an observation

    async def test(scene: Scene) -> None:
        scene.source.again = Observation([seen("a"), seen("b")])
        await scene.source.step()
        scene.source.again = Observation([seen("b")], unreadable=LOST)
        await scene.source.step()
        assert scene.ids == [1, 2]
        clock.ahead += 31
        await scene.source.step()
        await scene.source.step()  # the first was under way before the clock moved
        assert scene.ids == [2]
        assert scene.table.unseen == {}, "it has ended, as far as anyone can tell"
        assert [*(await scene.ledger.held())["fake"]] == ["b"]
        scene.source.again = Observation([seen("a"), seen("b")], unreadable=LOST)
        await scene.source.step()
        assert scene.ids == [2, 3]
        scene.source.again = Observation([seen("b")], unreadable=LOST)
        await scene.source.step()
        assert scene.ids == [2, 3], "it is not stale yet: it was just seen"
        scene.source.again = Observation([])
        await scene.source.step()
        assert scene.ids == []

    run(test)


def test_a_key_that_is_never_read_keeps_only_so_many_sessions_open() -> None:
    async def test(scene: Scene) -> None:
        for number in range(20):
            scene.source.again = Observation([seen(str(number))], unreadable=LOST)
            await scene.source.step()
            assert len(scene.ids) <= 4, "the one that is there, and three that are missing"
        assert len((await scene.ledger.held())["fake"]) <= 4

    run(test, sources=["fake:?max_sessions=3"])


def test_an_incomplete_observation_after_a_restart_ends_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"

    async def first(scene: Scene) -> None:
        scene.source.show(["a", "b"])
        await scene.source.step()

    async def second(scene: Scene) -> None:
        scene.source.again = Observation([seen("b")], unreadable=LOST)
        await scene.source.step()
        assert scene.ids == [2]
        assert scene.table.unseen == {1: "fake"}
        scene.source.again = Observation([seen("a"), seen("b")])
        await scene.source.step()
        assert scene.ids == [1, 2]

    run(first, url)
    run(second, url)


def test_a_server_that_restarted_leaves_nothing_behind_though_a_key_cannot_be_read() -> None:
    async def test(scene: Scene) -> None:
        scene.source.again = Observation([seen("a")], 1000.0)
        await scene.source.step()
        scene.source.again = Observation([seen("b")], 2000.0, LOST)
        await scene.source.step()
        assert scene.ids == [2]

    run(test)


def test_of_two_sessions_with_one_key_the_known_one_stays() -> None:
    one, other, another = seen("a", user="one"), seen("a", user="other"), seen("b", user="b")

    async def test(scene: Scene) -> None:
        scene.source.again = Observation([one, other, another])
        await scene.source.step()
        assert users(scene) == {1: "one", 2: "b"}
        scene.source.again = Observation([other, another, one])
        await scene.source.step()
        assert users(scene) == {1: "one", 2: "b"}
        (report,) = scene.collector.reports()
        assert report.unreadable_sessions == 1
        assert scene.table.partial == ["fake"]

    run(test)


def test_all_reasons_for_a_partial_observation_are_told_and_a_change_has_a_revision() -> None:
    async def test(scene: Scene) -> None:
        scene.source.again = Observation([seen("a"), seen("b")])
        await scene.source.step()
        top = scene.table.revision
        (report,) = scene.collector.reports()
        assert report.truncated
        assert report.partial == "only max_sessions=1 are shown"
        scene.source.again = Observation([seen("a"), seen("b")], None, LOST, "half of it")
        await scene.source.step()
        status = scene.table.source("fake").status
        assert status.partial == (
            "half of it; only max_sessions=1 are shown; some sessions could not be read"
        )
        assert scene.table.revision == top + 1
        scene.source.failing = "gone"
        await scene.source.step()
        assert scene.table.unreachable == ["fake"]
        assert scene.table.partial == []

    run(test, sources=["fake:?max_sessions=1"])


def test_what_a_source_says_of_services_has_a_revision_and_stays_while_it_is_unreachable() -> None:
    async def test(scene: Scene) -> None:
        sessions = [seen("a")]
        scene.source.again = Observation(sessions)
        await scene.source.step()
        for state in ("Started", "Stopped"):
            services = (ServiceStatus(name="app", router="cli", state=state),)
            scene.source.again = Observation(sessions, services=services)
            top = scene.table.revision
            for _ in range(2):
                await scene.source.step()
                assert scene.table.revision == top + 1
                assert [*scene.table.source("fake").status.services] == [*services]
        scene.source.failing = "gone"
        await scene.source.step()
        assert scene.table.unreachable == ["fake"]
        assert [*scene.table.source("fake").status.services] == [*services]
        (report,) = scene.collector.reports()
        assert [*report.services] == [*services]
        scene.source.failing = ""
        scene.source.again = Observation(sessions)
        await scene.source.step()
        (report,) = scene.collector.reports()
        assert not report.services

    run(test)


@pytest.mark.parametrize("seconds", [-62_135_596_800, 253_402_300_799, -(2**62), 2**62])
def test_a_start_that_cannot_be_stored_is_the_first_sight(seconds: int) -> None:
    async def test(scene: Scene) -> None:
        odd = seen("a")
        odd.session.connect_time.seconds = seconds
        scene.source.again = Observation([odd, seen("b", connected=7)])
        await scene.source.step()
        assert abs(scene.session(1).connect_time.ToNanoseconds() - time.time_ns()) < 60e9
        assert scene.session(2).connect_time.seconds == 7

    run(test)


def test_a_line_is_logged_for_a_change_and_none_for_the_rest(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(collecting, "WHOLE_AGAIN", 0.0)

    async def test(scene: Scene) -> None:
        async def step(observation: Observation) -> list[str]:
            caplog.clear()
            scene.source.again = observation
            await scene.source.step()
            return [record.getMessage() for record in caplog.records]

        assert await step(Observation([seen("a")])) == []
        odd = [lacking("a", "user")]
        assert await step(Observation(odd)) == [
            "source fake is read only partially: some members could not be read;"
            " unreadable: sessions 0, members 1, such as user: expected it"
        ]
        assert await step(Observation([lacking("a", "user"), lacking("b", "port")])) == []
        (line,) = await step(Observation(odd, unreadable=LOST))
        assert "some sessions could not be read; unreadable: sessions 1, members 1" in line
        assert await step(Observation([seen("a")])) == ["source fake is read completely again"]
        scene.source.failing = "no route"
        assert await step(Observation([])) == ["source fake is unreachable: no route"]
        assert await step(Observation([])) == []
        scene.source.failing = ""
        assert await step(Observation([])) == ["source fake is reachable again"]
        assert {record.levelname for record in caplog.records} == {"WARNING"}

    run(test)


def test_an_odd_client_that_comes_and_goes_writes_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(scene: Scene) -> None:
        for _ in range(10):
            for sessions in ([lacking("a", "user")], [seen("b")]):
                scene.source.again = Observation(sessions)
                await scene.source.step()

    run(test)
    assert len(caplog.records) == 1


def test_a_source_that_answers_is_asked_again_sooner() -> None:
    for fault, longest in ((SourceError("no"), 5), (SourceConnectError("no"), 30)):
        pauses = [collecting.back_off(fault, 1.0, failures) for failures in range(1, 20)]
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[-1]) == (2, longest)
