"""A gateway, and clients, that know several cores: they go on when one is away or hangs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from sessiongate.client import CallError, Client
from sessiongate.client.cores import Cores
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.gateway.upstream.ledgers import LedgerCheck
from sessiongate.v1.service_names import SESSION_SERVICE
from sessiongate.v1.session_action_service_pb2 import TerminateSessionRequest
from tests.client.both import Waiting
from tests.gateway.programs import LONG, running_core, running_gateway
from tests.gateway.reading import EVENTS, reading
from tests.gateway.scripted import Failure
from tests.polling import eventually
from tests.program import DOCUMENT, ForkedProgram, await_ready, run
from tests.recorded import show
from tests.snippets import texts

both = pytest.mark.parametrize("client_of", [Client, Waiting], ids=["synchronous", "asyncio"])


class TwoCores:
    """Two cores that show different sessions: 1 and 2, and 1 and 3."""

    def __init__(self, folder: Path) -> None:
        self.programs: dict[str, ForkedProgram] = {}
        self.sessions: dict[str, list[int]] = {}
        self.files: dict[str, Path] = {}
        for name, other in (("a", 2), ("b", 3)):
            file = folder / f"{name}.json"
            show(file, 1, other)
            source = f"document:{file}?interval=0.1&name=shown"
            program = ForkedProgram(
                "core", "--grpc", "127.0.0.1:0", "--source", source, "--ledger", "sqlite://"
            )
            address = program.expect(r"listening on (\S+)")[1]
            await_ready(address)
            self.programs[address], self.files[address] = program, file
            self.sessions[address] = [1, other]

    @property
    def all(self) -> str:
        return ",".join(self.programs)

    def showing(self, idents: list[int]) -> str:
        """Return the address of the core that shows these sessions."""
        (found,) = (each for each, shown in self.sessions.items() if shown == idents)
        return found

    def other(self, address: str) -> str:
        (found,) = self.programs.keys() - {address}
        return found

    def kill(self, address: str) -> None:
        psutil.Process(self.programs[address].process.pid).kill()

    @contextmanager
    def suspended(self, address: str) -> Iterator[None]:
        process = psutil.Process(self.programs[address].process.pid)
        process.suspend()
        try:
            yield
        finally:
            process.resume()


@pytest.fixture
def cores(tmp_path: Path) -> Iterator[TwoCores]:
    found = TwoCores(tmp_path)
    try:
        yield found
    finally:
        for program in found.programs.values():
            program.close()


def listed(url: str, **headers: str) -> list[int]:
    """Return the ids that a gateway lists, over a connection of its own, or the error's status."""
    answer = httpx.get(f"{url}/v1/sessions", headers=headers, timeout=LONG, trust_env=False)
    if answer.status_code != 200:
        return [answer.status_code]
    return [int(session["id"]) for session in answer.json()["data"]]


@pytest.mark.long
@pytest.mark.parametrize("view", ["replica", "direct"])
def test_a_gateway_goes_on_at_another_core(cores: TwoCores, view: str) -> None:
    """Each answer is one core's; none goes back to a core that was lost."""
    staleness = {"replica": 4.0, "direct": 0.0}[view]
    several = {"workers": 2, "replica_staleness": staleness, "core_timeout": 6.0}
    with running_gateway(cores.all, **several) as gateway, reading(gateway.url) as events:
        first = events.until("sync")
        shown = [int(event.data["id"]) for event in first if event.name == "upsert"]
        begun = cores.showing(shown)
        following = cores.sessions[cores.other(begun)]
        assert {tuple(listed(gateway.url)) for _ in range(6)} == {tuple(shown)}, "workers agree"
        tag = httpx.get(f"{gateway.url}/v1/sessions", timeout=LONG).headers["etag"]
        with cores.suspended(begun):  # it hangs: nothing closes its connections
            eventually(lambda: listed(gateway.url) == following)
            found = [event.name for event in events.until("snapshot")]
            assert found == ["lost", "snapshot"]
            synced = events.until("sync")
            assert [int(one.data["id"]) for one in synced if one.name == "upsert"] == following
            assert {tuple(listed(gateway.url)) for _ in range(6)} == {tuple(following)}
            # What the core before gave is of no state of this one.
            assert listed(gateway.url, **{"If-None-Match": tag}) == following
            with reading(gateway.url, headers={"Last-Event-ID": first[-1].ident}) as resumed:
                assert resumed.next().name == "snapshot"
        assert {tuple(listed(gateway.url)) for _ in range(6)} == {tuple(following)}, "not back"
        show(cores.files[cores.other(begun)], 1)
        assert events.until("remove")[-1].data["id"] == str(following[1])
        cores.kill(cores.other(begun))
        eventually(lambda: listed(gateway.url) == shown)
        cores.kill(begun)
        eventually(lambda: listed(gateway.url) == [503])
        ready = httpx.get(f"{gateway.url}/readyz", timeout=LONG)
        assert ready.status_code == 503


@pytest.mark.long
@both
def test_a_client_goes_on_at_another_core(
    cores: TwoCores, client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cores", "reflector", "synchronous_channels"):
        monkeypatch.setattr(f"sessiongate.client.{name}.SILENCE", 4.0)
    with client_of([*cores.programs], timeout=LONG) as client:
        updates = client.follow()
        held = next(update for update in updates if update.changes).copy
        shown = [*held.sessions]
        begun = cores.showing(shown)
        other = cores.other(begun)
        with cores.suspended(begun):
            lost = next(update for update in updates if update.lost)
            assert lost.lost.is_transient
            assert [*lost.copy.sessions] == shown, "it stays as it was"
            # The new copy replaces it as a whole, whatever the revisions are.
            update = next(update for update in updates if update.changes)
            assert [*update.copy.sessions] == cores.sessions[other]
            assert [one.id for one in client.sessions()] == cores.sessions[other]
        cores.kill(other)
        assert [one.id for one in client.sessions()] == shown
        update = next(update for update in updates if update.changes)
        assert [*update.copy.sessions] == shown
        cores.kill(begun)
        with pytest.raises(CallError) as away:
            client.list_sources()
        assert (away.value.reason, away.value.is_transient) == (None, True)
        updates.close()


def test_cores_of_different_ledgers_are_named(cores: TwoCores) -> None:
    arguments = "--core", cores.all, "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0"
    with ForkedProgram("serve", *arguments) as serving:
        named = "; ".join(map(re.escape, sorted(cores.programs)))
        serving.expect(rf"the cores have different ledgers \({named}\)")
        (url,) = eventually(lambda: re.findall(r"metrics at (http[^\s\"]+)", serving.output))

        def metrics() -> str:
            return httpx.get(url, timeout=LONG, trust_env=False).text

        eventually(metrics, lambda text: "\nsessiongate_core_ledgers 2.0\n" in text)

    async def ledgers() -> int:
        check = LedgerCheck([*cores.programs], partial(CoreClient, timeout=LONG))
        found = await check.look()
        cores.kill(next(iter(cores.programs)))
        assert await check.look() == found, "the other one is called now, and it is still another"
        return found

    assert asyncio.run(ledgers()) == 2


def test_the_first_core_may_be_away(cores: TwoCores, tmp_path: Path) -> None:
    """Commands that ask go on, too; their settings are written in each of the ways."""
    address, other = cores.programs
    cores.kill(other)
    absent = "127.0.0.1:1"
    for _ in range(4):  # whatever the order
        asked = run("list", "--core", f"{absent},{address}, {other}", "-o", "jsonl")
        assert (asked.returncode, asked.stderr) == (0, "")
        assert len(asked.stdout.splitlines()) == 2
        checked = run("check", "--core", f"{address},{absent}")
        assert checked.stdout.endswith("is ready\n")
        assert checked.stdout.startswith(f"the core at one of {address}, {absent}")
    (text,) = texts("docs/operations.md", "toml", "Several cores")
    file = tmp_path / "sessiongate.toml"
    file.write_text(
        text.replace("front-1.example:50051", absent).replace("front-2.example:50051", address)
    )
    assert len(run("list", "--config", file, "-o", "jsonl").stdout.splitlines()) == 2
    told = run("check-config", "--config", file).stdout
    assert f"gRPC     of the core at one of {absent}, {address}\n" in told
    asked = run("list", SESSIONGATE_CORE=f"{absent},{other}")
    assert asked.returncode == 1
    assert f"no core responds at {absent}, {other};" in asked.stderr
    wrong = run("list", "--core", f"{address},")
    assert "must be HOST:PORT" in wrong.stderr
    with Client([absent, address], timeout=LONG) as client:
        assert len([*client.sessions()]) == 2


class StandBy(grpc.GenericRpcHandler):
    """Answers each call that it stands by, except those of its health."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.asked.append(details.method.rpartition("/")[2])
            failure = Failure(grpc.StatusCode.UNAVAILABLE, "CORE_STANDBY")
            context.set_trailing_metadata(failure.trailers)
            context.abort(failure.code, "this core stands by")
            raise AssertionError("abort returned")

        is_health = details.method.startswith("/grpc.health.")
        return None if is_health else grpc.unary_unary_rpc_method_handler(refuse)


@contextmanager
def standing_by() -> Iterator[tuple[StandBy, str]]:
    stand_by, health = StandBy(), HealthServicer()
    health.set(SESSION_SERVICE, HealthCheckResponse.NOT_SERVING)
    with ThreadPoolExecutor(max_workers=8) as pool:
        server = grpc.server(pool, handlers=[stand_by])
        add_HealthServicer_to_server(health, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield stand_by, f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


def test_a_core_that_stands_by_is_passed_over() -> None:
    """Also by what asks only for its health, and by what acts."""
    with running_core(DOCUMENT) as active, standing_by() as (stand_by, address):

        async def ready() -> None:
            client = CoreClient(Cores([address, active]), LONG)
            await client.check()
            assert client.cores.address == active
            await client.close()

        asyncio.run(ready())
        assert stand_by.asked == []
        with Client(Cores([address, active]), timeout=LONG) as client:
            with pytest.raises(CallError) as failed:  # by the active one: it has no such session
                client.terminate_session(TerminateSessionRequest(id=999))
            assert failed.value.code is not grpc.StatusCode.UNAVAILABLE
            assert client.cores.address == active
        with Client(Cores([address, active]), timeout=LONG) as client:
            held = next(update for update in client.follow() if not update.lost).copy
            assert len(held.sessions) == len([*client.sessions()]) == 3
        assert "TerminateSession" in stand_by.asked

    with standing_by() as (_, one), standing_by() as (_, two):
        with Client([one, two], timeout=LONG) as client, pytest.raises(CallError) as away:
            client.list_sources()
        assert (away.value.reason, str(away.value)) == ("CORE_STANDBY", "this core stands by")
        with running_gateway(f"{one},{two}") as gateway:
            assert listed(gateway.url) == [503]
            ready_answer = httpx.get(f"{gateway.url}/readyz", timeout=LONG)
            assert ready_answer.status_code == 503


def test_the_first_request_may_be_for_events() -> None:
    """It finds the core that is there, wherever that is in the order."""
    absent = [f"127.0.0.1:{number}" for number in range(1, 4)]
    with running_core(DOCUMENT) as core:
        several = ",".join([core, *absent])
        with (
            running_gateway(several, replica_staleness=0.0) as gateway,
            reading(gateway.url) as events,
        ):
            assert events.next().name == "snapshot"
    with running_gateway(",".join(absent)) as gateway:
        answer = httpx.get(f"{gateway.url}/v1/sessions", headers=EVENTS, timeout=LONG)
        assert answer.status_code == 503
