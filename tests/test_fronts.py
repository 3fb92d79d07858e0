"""Fronts over cores of several shards: real programs, a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import httpx
import psycopg
import pytest

from sessiongate.client import CallError, Client, Reason
from sessiongate.core.ledger.postgresql.starts import INSTANCE_BITS
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.gateway.upstream.ledgers import LedgerCheck
from sessiongate.v1.fleet_service_pb2 import DESCRIPTOR as FLEET
from sessiongate.v1.fleet_service_pb2 import ListShardsRequest, ListShardsResponse, ShardState
from sessiongate.v1.fleet_service_pb2_grpc import FleetServiceStub
from sessiongate.v1.history_service_pb2 import ListPastSessionsRequest, PastSessionFilter
from sessiongate.v1.service_names import FLEET_SERVICE
from sessiongate.v1.session_action_service_pb2 import (
    CancelStatementRequest,
    TerminateSessionRequest,
)
from sessiongate.v1.session_service_pb2 import SessionFilter
from tests.core.engines import ROLE, Engine
from tests.core.test_decoding import refused as refusal
from tests.credentials import USER, CredentialFiles, basic, bearer
from tests.faults.documents import write_document
from tests.fleet import FleetCore, FleetFront, FleetLedger, fleet_ledger
from tests.haproxy import haproxy
from tests.polling import eventually
from tests.postgres import PASSWORD, STORED
from tests.program import PATIENCE, ForkedProgram, await_ready, channel, run
from tests.snippets import texts

HEARD = ShardState.SHARD_STATE_HEARD
(SETTINGS,) = texts("docs/fleet.md", "toml", "Fronts")
(COMMANDS,) = texts("docs/fleet.md", "sh", "Who is in the fleet")


@pytest.fixture
def ledger(engine: Engine) -> Iterator[FleetLedger]:
    with fleet_ledger(engine) as ledger:
        yield ledger


def source(folder: Path, name: str, sessions: int) -> str:
    """Write a document with sessions; return the source that reads it."""
    document = folder / f"{name}.json"
    write_document(document, sessions)
    return f"document:{document}?name={name}&interval=0.2"


def shards(front: FleetFront) -> ListShardsResponse:
    """Return what a front says about the fleet."""
    return shards_at(front.address)


def shards_at(address: str) -> ListShardsResponse:
    """Return what the front at an address says about the fleet."""
    with channel(address) as opened:
        stub = FleetServiceStub(opened)
        answer: ListShardsResponse = stub.ListShards(ListShardsRequest(), timeout=PATIENCE)
        return answer


def ids(client: Client) -> set[int]:
    return {each.id for each in client.sessions()}


@pytest.mark.long
def test_a_front_serves_all_shards_through_a_take_over(ledger: FleetLedger, tmp_path: Path) -> None:
    one, two = source(tmp_path, "orders", 3), source(tmp_path, "stock", 2)
    with (
        FleetCore(ledger.url, "core-a", one, shard="one") as first,
        FleetCore(ledger.url, "core-b", two, shard="two") as other,
        FleetFront(ledger.url, "front-1", "--core-metrics", "127.0.0.1:0") as front,
        Client(front.address) as client,
    ):
        await_ready(first.address)
        await_ready(other.address)
        await_ready(front.address)
        expected = first.ids() | other.ids()
        assert len(expected) == 5

        async def ledgers() -> int:
            addresses = [first.address, other.address, front.address]
            return await LedgerCheck(addresses, partial(CoreClient, timeout=PATIENCE)).look()

        assert asyncio.run(ledgers()) == 1
        assert eventually(lambda: ids(client), lambda found: found == expected)
        eventually(
            lambda: {each.name: (each.shard, each.core) for each in client.list_sources()},
            lambda reports: reports == {"orders": ("one", "core-a"), "stock": ("two", "core-b")},
        )
        now = PastSessionFilter()
        now.start_time.FromNanoseconds(time.time_ns())
        past = client.list_past_sessions(ListPastSessionsRequest(filter=now))
        assert {each.session.id for each in past.sessions} == expected
        assert not past.gaps
        with FleetCore(ledger.url, "core-c", one, shard="one") as second:
            second.expect("standing by")
            (shard, _) = eventually(
                lambda: shards(front).shards,
                lambda found: (
                    [(one.name, one.state, len(one.standbys)) for one in found]
                    == [("one", HEARD, 1), ("two", HEARD, 0)]
                ),
            )
            assert (shard.active.name, shard.active.address) == ("core-a", first.address)
            assert [each.name for each in shard.standbys] == ["core-c"]
            assert list(shard.sources) == ["orders"]
            assert [each.name for each in shards(front).fronts] == ["front-1"]
            (url,) = eventually(lambda: re.findall(r"metrics at (http[^\s\"]+)", front.output))

            def metrics_of_front() -> str:
                answer = httpx.get(url, timeout=PATIENCE, trust_env=False)
                assert answer.status_code == 200, front.output
                return answer.text

            metrics = eventually(
                metrics_of_front, lambda text: 'sessiongate_shard_heard{shard="one"} 1.0' in text
            )
            (age,) = re.findall('sessiongate_shard_age_seconds{shard="two"} (.*)', metrics)
            assert 0 <= float(age) < PATIENCE
            assert 'sessiongate_source_reachable{source="orders"} 1.0' in metrics
            assert "sessiongate_history" not in metrics
            before = client.list_sessions().revision
            first.process.kill()
            ledger.until_active("core-c", shard="one")
            eventually(lambda: shards(front).shards[0].active.name, lambda name: name == "core-c")
            eventually(
                lambda: {each.name: each.core for each in client.list_sources()},
                lambda found: found["orders"] == "core-c",
            )
            page = eventually(client.list_sessions, lambda page: not page.unreachable)
            assert {each.id for each in page.sessions} == expected
            assert max(each.revision for each in page.sessions) <= before, "no event"
            second.process.kill()
            eventually(client.list_sessions, lambda page: [*page.unreachable] == ["orders"])
            fleet = eventually(
                lambda: shards(front),
                lambda found: (
                    {each.name for each in found.ended} == {"core-a", "core-c"}
                    and found.shards[0].state == ShardState.SHARD_STATE_IDLE
                ),
            )
            assert not fleet.shards[0].HasField("active")


def test_what_no_core_is_heard_of_is_not_denied(ledger: FleetLedger, tmp_path: Path) -> None:
    with FleetCore(ledger.url, "core-a", source(tmp_path, "orders", 1), shard="one") as core:
        await_ready(core.address)
        (ident,) = core.ids()
        core.process.kill()
    with FleetFront(ledger.url, "front-1") as front, Client(front.address) as client:
        await_ready(front.address)
        page = client.list_sessions()
        assert (len(page.sessions), [*page.unreachable]) == (0, ["orders"])
        with pytest.raises(CallError) as refused:
            client.get_session(ident)
        assert refused.value.reason == Reason.SOURCE_UNREACHABLE
        with pytest.raises(CallError) as refused:
            client.get_session(ident + 1000)
        assert refused.value.reason == Reason.SESSION_NOT_FOUND
        assert client.get_past_session(ident).session.id == ident


def test_the_documented_front_tells_who_is_in_the_fleet(
    ledger: FleetLedger, tmp_path: Path
) -> None:
    password, config = tmp_path / "password", tmp_path / "sessiongate.toml"
    password.write_text(PASSWORD)
    stated = SETTINGS.replace("db.example.com/sessiongate", ledger.url.rpartition("@")[2])
    config.write_text(stated.replace("/etc/sessiongate/ledger.password", str(password)))
    insecure = ("--config", config, "--insecure")
    assert run("check-config", *insecure).returncode == 0
    show, forget = COMMANDS.splitlines()
    forget = forget.replace("/etc/sessiongate/sessiongate.toml", str(config))
    ledger_url = {"SESSIONGATE_LEDGER": ledger.url}
    with (
        FleetCore(ledger.url, "core-a", source(tmp_path, "orders", 1), shard="east") as core,
        ForkedProgram("core", *insecure, "--grpc", "127.0.0.1:0") as front,
    ):
        address = front.expect("^listening on (.*)$")[1]
        await_ready(core.address)
        await_ready(address)
        asked = show.replace("front-1.example.com:50051", address).split()[1:]
        shown = eventually(lambda: run(*asked), lambda shown: "Z  yes " in shown.stdout)
        assert shown.returncode == 0, shown.stderr
        head, active, itself = shown.stdout.splitlines()
        assert head.split() == ["Shard", "Name", "Is", "Since", "Heard", "Address"]
        assert active.startswith("east   core-a   active  20")
        assert active.endswith(f"Z  yes    {core.address}")
        assert itself.split()[:2] == ["front-1", "front"]
        assert itself.endswith("front-1.example.com:50051")
        assert all(len(line) <= 80 for line in shown.stdout.splitlines())
        assert shown.stderr == "shard east: no core stands by\n"
        refused = run(*forget.split()[1:])
        assert refused.returncode == 1
        assert "core-a runs: " in refused.stderr
        other = run("fleet", "--core", core.address)
        assert (other.returncode, other.stdout) == (1, "")
        assert "this core is no front" in other.stderr
        away = f"document:{tmp_path}/away.json?name=orders"
        with FleetCore(ledger.url, "spare", away, shard="east") as blind:
            (standby,) = eventually(
                lambda: [each for each in shards_at(address).shards[0].standbys if each.unreadable]
            )
            assert (standby.address, [*standby.unreadable]) == (blind.address, ["orders"])
            assert standby.observe_time.seconds >= standby.since_time.seconds
            shown = run(*asked)
            text = "shard east: spare, which stands by, cannot read: orders\n"
            assert (shown.returncode, shown.stderr) == (0, text)
        core.process.kill()
        eventually(lambda: run(*asked), lambda shown: "east            no active" in shown.stdout)
        # The server may still keep its name for a moment.
        forgotten = eventually(
            lambda: run(*forget.split()[1:]), lambda asked: "core-a runs: " not in asked.stderr
        )
        assert (forgotten.returncode, forgotten.stdout) == (0, "forgot core-a\n")
        again = run(*forget.split()[1:])
        assert again.returncode == 1
        assert "there is no core or front 'core-a'; known: front-1, spare" in again.stderr
    refused = run("core", "--fleet", "--source", "host:", **ledger_url)
    assert refused.returncode == 2
    assert "has no effect with --fleet: a front reads no sources" in refused.stderr


def test_a_front_asks_for_credentials_before_it_tells_of_the_fleet(
    ledger: FleetLedger, tmp_path: Path
) -> None:
    files = CredentialFiles(tmp_path)
    unknown = grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"
    malformed = grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"

    async def main(address: str) -> None:
        for method in FLEET.services_by_name["FleetService"].methods:
            path = f"/{FLEET_SERVICE}/{method.name}"
            assert await refusal(address, path) == unknown
            assert await refusal(address, path, (("authorization", basic()),)) == malformed

    with FleetFront(ledger.url, "front-1", *files.flags) as front:
        asyncio.run(main(front.address))


def test_acts_go_through_a_front_in_the_name_of_its_caller(
    ledger: FleetLedger, tmp_path: Path
) -> None:
    files, operators = CredentialFiles(tmp_path), tmp_path / "operators"
    audit, of_front = tmp_path / "audit", tmp_path / "audit-of-front"
    operators.write_text(f"{USER}\n")
    server, role = ledger.engine.server, ledger.engine.url("postgres", user="acts")
    server.execute(
        f"CREATE ROLE acts LOGIN PASSWORD '{STORED}'",
        "GRANT pg_read_all_stats, pg_signal_backend TO acts",
        f"CREATE ROLE app LOGIN PASSWORD '{STORED}'",
    )
    config = tmp_path / "sources.toml"
    config.write_text(
        f'source = [{{ url = "{role}", name = "db", interval = 0.2,'
        ' actions = ["cancel", "terminate"] }]\n'
    )
    guarded = (*files.flags, "--operators", str(operators))
    guarded += ("--core-token-file", str(files.core_token))
    reading = ("--config", str(config), "--audit-log", str(audit), "--name", "core-a")
    ledger_of = {"SESSIONGATE_LEDGER": ledger.url}
    with (
        ForkedProgram("core", "--grpc", "127.0.0.1:0", *reading, *guarded, **ledger_of) as core,
        FleetFront(ledger.url, "front-1", *guarded, "--audit-log", str(of_front)) as front,
        Client(front.address, metadata={"authorization": basic()}.items) as client,
        Client(front.address, metadata={"authorization": bearer()}.items) as another,
        server.connect(user="app", password=PASSWORD) as victim,
    ):
        core.expect("^listening on ")
        await_ready(front.address)
        wanted = SessionFilter(users=["app"])
        (session,) = eventually(lambda: [*client.sessions(wanted)], lambda found: len(found) == 1)
        with pytest.raises(CallError) as refused:
            another.terminate_session(TerminateSessionRequest(id=session.id))
        assert refused.value.reason == Reason.OPERATOR_REQUIRED
        with pytest.raises(CallError) as refused:
            client.terminate_session(TerminateSessionRequest(id=session.id, identity_revision=1))
        assert refused.value.reason == Reason.SESSION_CHANGED
        with pytest.raises(CallError) as refused:
            client.cancel_statement(CancelStatementRequest(id=session.id))
        assert refused.value.reason == Reason.NO_STATEMENT
        seen = session.identity_revision
        asked = TerminateSessionRequest(id=session.id, identity_revision=seen)
        answer = client.terminate_session(asked)
        assert answer.ended
        page = client.list_sessions()
        assert session.id not in {each.id for each in page.sessions}
        assert page.revision >= answer.revision, "it is a revision of the front's"
        with pytest.raises(psycopg.OperationalError):
            victim.execute("SELECT 1")
        past = eventually(
            lambda: client.get_past_session(session.id), lambda found: found.HasField("end_time")
        )
        assert past.ended_by == USER
        with pytest.raises(CallError) as refused:
            client.terminate_session(asked)
        assert refused.value.reason == Reason.SESSION_NOT_FOUND
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert {(one["operator"], one["proof"], one["address"]) for one in lines} == {
        (USER, "password", "127.0.0.1")
    }
    refusals = [json.loads(line) for line in of_front.read_text().splitlines()]
    assert [(one["outcome"], one["proof"], one["session"]["source"]) for one in refusals] == [
        ("operator_required", "token", "db"),
        ("session_changed", "password", "db"),
        ("session_not_found", "password", ""),
    ]


def test_a_client_is_followed_over_two_cores_through_the_proxy_to_the_server(
    ledger: FleetLedger, tmp_path: Path
) -> None:
    server, secret = ledger.engine.server, tmp_path / "password"
    secret.write_text(PASSWORD)
    with haproxy(server.port) as proxy:
        edge = f"haproxy:{proxy.folder}/operator.sock?links=true&interval=0.2"
        reached = f"postgresql://{ROLE}@127.0.0.1:{server.port}?name=db&interval=0.2"
        reached += f"&password_file={secret}"
        with (
            FleetCore(ledger.url, "core-a", edge, shard="one"),
            FleetCore(ledger.url, "core-b", reached, "--network", "b", shard="two"),
            FleetFront(ledger.url, "front-1") as front,
            Client(front.address) as client,
            server.connect(
                port=proxy.ports["plain"],
                **{"user": ROLE, "password": PASSWORD, "application_name": "linked"},
            ),
        ):
            await_ready(front.address)
            wanted = SessionFilter(applications=["linked"])
            (session,) = eventually(
                lambda: [each for each in client.sessions(wanted) if each.downstream_ids]
            )
            (proxied,) = [client.get_session(ident).session for ident in session.downstream_ids]
            assert [*proxied.upstream_ids] == [session.id]
            assert (proxied.service, session.source) == ("plain", "db@core-b")


def test_a_shard_that_the_ledger_has_lost_is_not_denied(
    ledger: FleetLedger, tmp_path: Path
) -> None:
    with (
        FleetCore(ledger.url, "core-a", source(tmp_path, "orders", 1), shard="one") as core,
        FleetFront(ledger.url, "front-1") as front,
        Client(front.address) as client,
    ):
        await_ready(core.address)
        await_ready(front.address)
        eventually(client.list_sessions, lambda page: len(page.sessions) == 1)
        core.process.kill()
        before = client.list_sessions().revision >> INSTANCE_BITS
        ledger.begin_anew()
        eventually(lambda: shards(front), lambda found: found.fronts and not found.shards)
        numbers = set()
        for name in ("front-2", "front-3", "front-4"):  # else one of them would be the first's
            with FleetFront(ledger.url, name) as another, Client(another.address) as asked:
                await_ready(another.address)
                numbers.add(asked.list_sessions().revision >> INSTANCE_BITS)
        assert len(numbers - {before}) == 3
        eventually(client.list_sessions, lambda page: [*page.unreachable] == ["orders"])
