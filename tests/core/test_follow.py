"""A front over cores, by gRPC: what it shows while they come, go, and replace each other."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.client.asynchronous import AsyncClient
from sessiongate.client.errors import CallError
from sessiongate.core.actions.attempt import ActionCaller
from sessiongate.core.actions.audit import AuditLog
from sessiongate.core.errors import (
    CoreStandbyError,
    LedgerUnavailableError,
    SessionNotFoundError,
    SourceUnreachableError,
)
from sessiongate.core.follow.acting import ForwardedActions
from sessiongate.core.follow.calling import connecting
from sessiongate.core.follow.follower import CoreToFollow
from sessiongate.core.follow.front import Front
from sessiongate.core.follow.lookup import Lookup
from sessiongate.core.follow.refusals import Refusals
from sessiongate.core.grpc.forwarding_service import refusal_of
from sessiongate.core.grpc.service import SessionService
from sessiongate.core.grpc.standby_service import add_refusals
from sessiongate.core.grpc.stream_quota import StreamQuota
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.table.draft import STEP_CHANGES
from sessiongate.core.table.lookup import missing
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.errors import Reason
from sessiongate.v1.history_service_pb2 import PastSession
from sessiongate.v1.service_names import SESSION_ACTION_SERVICE
from sessiongate.v1.session_action_service_pb2 import TerminateSessionRequest
from sessiongate.v1.session_pb2 import Session


class ServedTable:
    """A core: a table that is served."""

    def __init__(self, activity: int, *sources: str) -> None:
        self.activity = activity
        self.table = SessionTable(sources, activity << 40, Timestamp)
        self.server = grpc.aio.server()
        SessionService(self.table, StreamQuota(100)).add_to(self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    async def serve(self, sessions: Iterable[Session] = ()) -> CoreToFollow:
        """Show sessions, with all sources reachable; return how to follow this."""
        await self.server.start()
        self.table.apply(sessions, [])
        for state in self.table.sources():
            self.table.set_source(state.name, reachable=True)
        return CoreToFollow(f"core-{self.activity}", f"127.0.0.1:{self.port}", self.activity)


class Fronted:
    """A front, and the cores that it follows."""

    def __init__(self, stale_after: float) -> None:
        self.table = SessionTable((), 1, Timestamp)
        self.front = Front(self.table, AsyncClient, stale_after=stale_after)
        self.cores: list[ServedTable] = []

    def core(self, *sources: str) -> ServedTable:
        self.cores.append(ServedTable(len(self.cores) + 1, *sources))
        return self.cores[-1]

    async def heard(self) -> None:
        """Wait until it is ready, and hears all shards, which may take longer."""
        await self.table.ready.wait()
        await _becomes(lambda: all(shard.is_heard for shard in self.front.shards.values()))

    def ids(self) -> list[int]:
        self.table.deadlines.enforce()
        return [row.id for row in self.table.following(0, 100_000)]


@asynccontextmanager
async def fronted(stale_after: float = 30.0) -> AsyncIterator[Fronted]:
    stage = Fronted(stale_after)
    await stage.front.start()
    try:
        yield stage
    finally:
        await stage.front.close()
        await asyncio.gather(*(core.server.stop(0) for core in stage.cores))


def run(test: Callable[[Fronted], Awaitable[None]], *, stale_after: float = 30.0) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), fronted(stale_after) as stage:
            await test(stage)

    asyncio.run(main())


def made(source: str, ids: Iterable[int]) -> list[Session]:
    return [Session(id=ident, source=source, service="s") for ident in ids]


async def _becomes(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds; the test as a whole has a limit."""
    while not holds():  # noqa: ASYNC110 - what it looks at has no event
        await asyncio.sleep(0.02)


def test_the_sessions_of_two_shards_are_one_list() -> None:
    async def test(stage: Fronted) -> None:
        one, two = stage.core("a"), stage.core("b")
        stage.front.follow(
            {"one": await one.serve(made("a", [1, 4])), "two": await two.serve(made("b", [2]))}
        )
        await stage.heard()
        assert stage.ids() == [1, 2, 4]
        assert stage.table.unreachable == []
        two.table.apply(made("b", [3]), [2])
        await _becomes(lambda: stage.ids() == [1, 3, 4])
        one.table.set_source("a", reachable=False, error="no route")
        await _becomes(lambda: stage.table.unreachable == ["a"])
        assert stage.table.source("a").error == "no route"
        reports = await stage.front.current_reports()
        assert [(one.name, one.shard, one.core, one.session_count) for one in reports] == [
            ("a", "one", "core-1", 2),
            ("b", "two", "core-2", 1),
        ]

    run(test)


def test_another_core_takes_over_without_an_event() -> None:
    async def test(stage: Fronted) -> None:
        many = made("a", range(1, 3 * STEP_CHANGES))
        former, latter = stage.core("a"), stage.core("a")
        stage.front.follow({"one": await former.serve(many)})
        await stage.heard()
        steps = stage.table.log.between(1, stage.table.revision)
        assert max(len(step.new) for step in steps) <= STEP_CHANGES
        before = stage.table.revision
        await former.server.stop(0)
        stage.front.follow({"one": await latter.serve([*many[1:], *made("a", [9000])])})
        await _becomes(lambda: 9000 in stage.table)
        steps = stage.table.log.between(before, stage.table.revision)
        changed = [row.id for step in steps for row in step.new if row is not None]
        assert changed == [9000]
        assert 1 not in stage.table
        assert not stage.table.unseen

    run(test)


@pytest.mark.long
def test_a_core_that_hangs_is_named_and_its_sessions_go_after_a_while() -> None:
    async def test(stage: Fronted) -> None:
        one, two = stage.core("a"), stage.core("b")
        cores = {"one": await one.serve(made("a", [1])), "two": await two.serve(made("b", [2]))}
        stage.front.follow(cores)
        await stage.heard()
        await two.server.stop(0)
        await _becomes(lambda: stage.table.unreachable == ["b"])
        assert "core core-2 (127.0.0.1:" in stage.table.source("b").error
        assert stage.ids() == [1, 2], "what was known stays for a while"
        await _becomes(lambda: stage.ids() == [1])
        assert isinstance(missing(stage.table, 2), SourceUnreachableError)
        report = (await stage.front.current_reports())[1]
        assert (report.name, report.last_error) == ("b", stage.table.source("b").error)
        stage.front.follow({**cores, "two": await stage.core("b").serve(made("b", [2]))})
        await _becomes(lambda: stage.ids() == [1, 2])
        assert stage.table.unreachable == []

    run(test, stale_after=4.0)


def test_the_core_that_has_fallen_silent_is_named_and_not_the_one_that_follows() -> None:
    async def test(stage: Fronted) -> None:
        stage.front.follow({"one": await stage.core("a").serve(made("a", [1]))})
        await stage.heard()
        shard = stage.front.shards["one"]
        stage.front.follow({"one": CoreToFollow("core-9", "127.0.0.1:1", 9)})
        shard._name_silent()
        assert stage.table.source("a").error.startswith("shard one: core core-1 (")
        shown = "shard one: core core-9 (127.0.0.1:1) is not heard: "
        await _becomes(lambda: stage.table.source("a").error.startswith(shown))
        assert "nothing has come" not in stage.table.source("a").error

    run(test)


@pytest.mark.long
def test_a_core_that_follows_and_hangs_is_named_after_the_one_that_has_fallen_silent() -> None:
    async def test(stage: Fronted) -> None:
        one = stage.core("a")
        stage.front.follow({"one": await one.serve(made("a", [1]))})
        await stage.heard()
        await one.server.stop(0)
        await _becomes(lambda: stage.table.unreachable == ["a"])
        assert stage.table.source("a").error.startswith("shard one: core core-1 (")
        with socket.create_server(("127.0.0.1", 0)) as hanging:
            address = f"127.0.0.1:{hanging.getsockname()[1]}"
            stage.front.follow({"one": CoreToFollow("core-9", address, 9)})
            shown = f"shard one: core core-9 ({address}) is not heard: "
            await _becomes(lambda: stage.table.source("a").error.startswith(shown))

    run(test)


def test_another_core_at_the_address_of_one_that_is_gone_is_not_taken_for_it() -> None:
    async def test(stage: Fronted) -> None:
        gone, other = stage.core("a"), stage.core("b")
        core = await gone.serve(made("a", [1]))
        stage.front.follow({"one": core})
        await stage.heard()
        another = await other.serve(made("b", [2]))
        stage.front.follow({"one": core._replace(address=another.address)})
        following = stage.front.shards["one"].following
        assert following is not None
        await _becomes(lambda: "another core" in following.lost)
        assert stage.ids() == [1]
        assert [each.name for each in stage.table.sources()] == ["a"]
        stage.front.follow({"one": core, "two": another})
        assert stage.front.shards["one"].following is None, "it is the one that is shown"
        await _becomes(lambda: stage.ids() == [1, 2])
        assert stage.front.conflicts("one") == stage.front.conflicts("two") == []

    run(test)


def test_an_address_that_is_none_is_not_sent_the_secret(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s" * 32 + "\n")
    token.chmod(0o600)
    connect = connecting(None, token, open_to_all=False)

    async def test(stage: Fronted) -> None:
        front = Front(stage.table, connect, stale_after=30)
        front.follow({"one": CoreToFollow("core-1", "no address", 1)}, {"one": ["a"]})
        await _becomes(lambda: stage.table.unreachable == ["a"])
        await front.close()

    run(test)


def test_an_act_that_a_core_refuses_before_it_looks_is_not_done(tmp_path: Path) -> None:
    async def one(_ident: int) -> PastSession | None:
        return None

    async def test(stage: Fronted) -> None:
        core = stage.core("a")
        standing_by = CoreStandbyError("this core stands by", shard="one")
        add_refusals((SESSION_ACTION_SERVICE,), core.server, lambda: standing_by)
        stage.front.follow({"one": await core.serve(made("a", [1]))})
        await stage.heard()
        lookup = Lookup(stage.table, one)
        refusals = Refusals(AuditLog(tmp_path / "audit"), 2)
        actions = ForwardedActions(stage.table, stage.front, lookup, refusal_of, refusals)
        caller = ActionCaller("ann", "password", "10.0.0.1", True, "r1")
        for _ in range(3):  # of which one is too many to be written down
            with pytest.raises(SourceUnreachableError, match="was done: this core stands by"):
                await actions.terminate(TerminateSessionRequest(id=1), caller)
        lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
        assert [(one["outcome"], one["operator"], one["session"]["id"]) for one in lines] == [
            ("source_unreachable", "ann", 1)
        ] * 2

    run(test)


def test_two_sessions_with_one_id_are_not_mixed_up(caplog: pytest.LogCaptureFixture) -> None:
    async def test(stage: Fronted) -> None:
        one, two = stage.core("a"), stage.core("b")
        cores = {"one": await one.serve(made("a", [1]))}
        stage.front.follow(cores)
        await stage.heard()
        cores["two"] = await two.serve(made("b", [1, 2]))
        stage.front.follow(cores)
        await _becomes(lambda: stage.ids() == [1, 2])
        session = stage.table.get(1)
        assert session is not None
        assert session.source == "a"
        assert "two shards state sessions with the same id" in caplog.text

    run(test)


def test_a_shard_that_was_never_heard_is_named_by_its_sources() -> None:
    async def test(stage: Fronted) -> None:
        one = await stage.core("a").serve(made("a", [1]))
        away = CoreToFollow("core-9", "127.0.0.1:1", 9)
        sources = {"two": ["b"], "three": ["c"]}
        stage.front.follow({"one": one, "two": away, "three": "no core is active"}, sources)
        await stage.table.ready.wait()
        assert stage.table.unreachable == ["b", "c"]
        assert "no core is active" in stage.table.source("c").error
        assert "core-9" in stage.table.source("b").error

    run(test)


def test_a_source_in_two_shards_is_shown_once_and_moves_when_the_first_lets_it_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(stage: Fronted) -> None:
        one, two = stage.core("a", "b"), stage.core("b")
        cores = {"one": await one.serve(made("b", [1]))}
        stage.front.follow(cores)
        await stage.heard()
        cores["two"] = await two.serve(made("b", [2]))
        stage.front.follow(cores)
        await _becomes(lambda: "both have a source named 'b'" in caplog.text)
        assert stage.front.conflicts("two") == ["b"]
        assert stage.ids() == [1]
        cores["one"] = await stage.core("a").serve()
        stage.front.follow(cores)
        await _becomes(lambda: stage.ids() == [2])
        assert stage.front.conflicts("two") == []
        assert [state.name for state in stage.table.sources()] == ["a", "b"]
        del cores["two"]
        stage.front.follow(cores)
        await _becomes(lambda: [each.name for each in stage.table.sources()] == ["a"])

    run(test)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([None], SessionNotFoundError),
        ([PastSession(session=Session(id=7, source="a"))], SourceUnreachableError),
        ([], LedgerUnavailableError),
    ],
)
def test_a_session_is_denied_only_if_the_ledger_denies_it(
    found: Sequence[PastSession | None], expected: type[Exception]
) -> None:
    async def one(_ident: int) -> PastSession | None:
        if not found:
            raise LedgerError("away")
        return found[0]

    async def test(stage: Fronted) -> None:
        assert isinstance(await Lookup(stage.table, one).missing(7), expected)

    run(test)


@pytest.mark.long
def test_a_ledger_that_hangs_is_named_in_the_time_that_clients_have() -> None:
    async def one(_ident: int) -> PastSession | None:
        await asyncio.Event().wait()
        return None

    async def test(stage: Fronted) -> None:
        lookup = Lookup(stage.table, one)
        service = SessionService(stage.table, StreamQuota(100), lookup.missing)
        server = grpc.aio.server()
        service.add_to(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stage.table.ready.set()
        client = AsyncClient(f"127.0.0.1:{port}")
        with pytest.raises(CallError) as refused:
            await client.get_session(7)
        assert refused.value.reason == Reason.LEDGER_UNAVAILABLE
        await client.close()
        await server.stop(0)

    run(test)


def test_an_ended_session_is_not_found() -> None:
    ended = PastSession(session=Session(id=7, source="a"))
    ended.end_time.FromSeconds(1)

    async def one(_ident: int) -> PastSession | None:
        return ended

    async def test(stage: Fronted) -> None:
        assert isinstance(await Lookup(stage.table, one).missing(7), SessionNotFoundError)

    run(test)
