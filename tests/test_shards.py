"""Cores of one shard: one is active, the others stand by; real programs, a real PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sessiongate.client import CallError, Client, Reason
from sessiongate.core.fleet.member import MemberEntry
from sessiongate.core.fleet.membership import Membership
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.partitions import HOUR
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.suspects import (
    SourceReader,
    Verdict,
    begin_first_read,
)
from tests import few_partitions
from tests.clocks import OwnClock
from tests.core.engines import Engine
from tests.faults.documents import write_document, write_users
from tests.fleet import FleetCore, FleetFront, FleetLedger, fleet_ledger
from tests.polling import eventually
from tests.postgres import PASSWORD
from tests.program import PATIENCE, ForkedProgram, await_ready, channel, run
from tests.snippets import texts
from tests.test_operations import documented, is_of_a_shard

pytestmark = pytest.mark.long

# Seconds until a core that hangs is replaced; in fewer, one that works may just get no CPU.
AFTER = 5.0
STANDBYS, TAKEOVERS = "sessiongate_shard_standbys", "sessiongate_shard_takeovers_total"
ENDED = "sessiongate_shard_cores_ended_total"
LOST = "sessiongate_shard_pens_lost_total"
NO_TAKEOVER = "it does not take over until they agree"
(SETTINGS,) = texts("docs/fleet.md", "toml", "Shards")


@pytest.fixture
def ledger(engine: Engine) -> Iterator[FleetLedger]:
    with fleet_ledger(engine) as ledger:
        yield ledger


def serves(address: str) -> bool:
    """Return what a core's health says."""
    with channel(address) as opened:
        stub: Any = HealthStub(opened)  # its stub file lacks the calls
        answer = stub.Check(HealthCheckRequest(), wait_for_ready=True, timeout=PATIENCE)
        return bool(answer.status == HealthCheckResponse.SERVING)


def shown_by(*cores: FleetCore) -> set[int]:
    """Return the ids that the active one of these cores shows; none while neither is active."""
    for core in cores:
        with suppress(CallError):
            return core.ids()
    return set()


def users(address: str) -> set[str]:
    """Return the users of a core's sessions; none while it does not answer."""
    with suppress(CallError), Client(address) as client:
        return {each.user for each in client.sessions()}
    return set()


def test_a_stand_by_goes_on_with_the_same_ids(ledger: FleetLedger, tmp_path: Path) -> None:
    document = tmp_path / "app.json"
    write_document(document, 3)
    source = f"document:{document}?name=app&interval=0.2"
    after = ("--takeover-after", str(AFTER), "--core-metrics", "127.0.0.1:0")
    with FleetCore(ledger.url, "core-a", source, *after) as first:
        await_ready(first.address)
        ids = first.ids()
        assert len(ids) == 3
        assert first.metrics()["sessiongate_shard_active"] == 1
        with FleetCore(ledger.url, "core-b", source, *after) as second:
            second.expect(f"standing by for the shard default: core-a at {first.address} is active")
            assert ledger.active() == "core-a"
            ledger.until_standing_by("core-b")
            eventually(lambda: ledger.member("core-b").observed)
            assert ledger.member("core-b").unreadable == []
            eventually(
                second.metrics,
                lambda shown: (shown["sessiongate_shard_active"], shown[STANDBYS]) == (0, 1),
            )
            assert not serves(second.address)
            with pytest.raises(CallError, match=f"core-a at {first.address} is active") as refused:
                second.ids()
            assert refused.value.reason == Reason.CORE_STANDBY
            stated = {"shard": "default", "active": "core-a", "address": first.address}
            assert refused.value.metadata == stated
            ledger.engine.server.server.suspend()
            time.sleep(1.5 * AFTER)
            ledger.engine.server.server.resume()
            write_document(document, 4)  # to write it, the core needs its pen again
            ids = eventually(lambda: shown_by(first, second), lambda found: len(found) == 4)
            if ledger.active() == "core-b":  # the other one had too little CPU to go first
                first, second = second, first
            before, lost = second.metrics(), first.metrics()[LOST]
            first.process.send_signal(signal.SIGSTOP)
            write_users(
                document, {1: 1, 2: 22, 3: 3, 5: 5}
            )  # unlike what was read while standing by
            second.expect(f"{first.name} at {first.address} has not shown for .* seconds that it")
            second.expect("going on with . sessions that were read while standing by")
            ledger.until_active(second.name)
            first.process.send_signal(signal.SIGCONT)
            first.expect(f"{second.name} at {second.address} has become active")
            first.expect("standing by")
            eventually(lambda: first.metrics()[LOST], lambda found: found == lost + 1)
            wanted = {"user-1", "user-22", "user-3", "user-5"}
            eventually(lambda: users(second.address), lambda found: found == wanted)
            ids, known = second.ids_in_time(), ids
            assert (len(ids), len(ids & known)) == (4, 3)
            eventually(lambda: serves(second.address))
            takeovers = before.get(TAKEOVERS, 0) + 1
            shown = eventually(second.metrics, lambda shown: shown.get(TAKEOVERS) == takeovers)
            assert {name for name in shown if is_of_a_shard(name)} == {
                name + ("_total" if kind == "counter" else "")
                for name, kind, _ in documented().values()
                if is_of_a_shard(name)
            }
            assert shown[ENDED] > before[ENDED]
            ahead = shown["sessiongate_ledger_partitions_ahead_seconds"] * 10**9 / HOUR
            assert -1.1 < ahead - few_partitions.AHEAD / HOUR < 0.1  # it ends with an hour
            second.process.kill()
            ledger.until_active(first.name)
            assert first.ids_in_time() == ids
            write_document(document, 5)
            more = eventually(first.ids, lambda found: len(found) == 5)
            assert more > ids
            with FleetCore(ledger.url, second.name, source) as again:
                again.expect("standing by")
                first.process.terminate()
                assert first.wait() == 0
                ledger.until_active(again.name)
                assert again.ids_in_time() == more


def test_the_documented_core_has_its_name_and_its_sources_for_itself(
    ledger: FleetLedger, tmp_path: Path
) -> None:
    """A name that is taken, and a source of another shard, are refused by name."""
    password, config, document = (tmp_path / name for name in ("pw", "s.toml", "app.json"))
    password.write_text(PASSWORD)
    write_document(document, 2)
    stated = SETTINGS.replace("db.example.com/sessiongate", ledger.url.rpartition("@")[2])
    for file in ("ledger.password", "orders.password"):
        stated = stated.replace(f"/etc/sessiongate/{file}", str(password))
    config.write_text(stated)
    insecure = ("--config", config, "--insecure")
    checked = run("check-config", *insecure)
    assert checked.returncode == 0, checked.stderr
    source = f"document:{document}?name=app"
    plain = (*insecure, "--grpc", "127.0.0.1:0", "--source", source)
    with ForkedProgram("core", *plain) as first:
        first.expect("^listening on ")
        # It listens a little before it is active, and before it states its address.
        eventually(
            lambda: [
                (each.name, each.active.shown, each.sources)
                for each in ledger.fleet().shards
                if each.active
            ],
            lambda found: found == [("east", "core-a at core-a.example.com:50051", ("app",))],
        )
        second = run("core", *plain)
        assert second.returncode == 2
        assert "has a core named core-a already: sessiongate core core-a" in second.stderr
        here = (*plain[:-1], "host:", "--name", "core-b")
        with ForkedProgram("core", *here) as unlike:
            unlike.expect("this core has no source app, which core-a of this shard has")
        other = ("--shard", "west", "--name", "core-c")
        refused = run("core", *plain, *other)
        assert refused.returncode == 2
        assert "has the source 'app' in the shard 'east'" in refused.stderr
    with ForkedProgram("core", *plain[:-1], f"{source}-2") as without:
        without.expect("source app is not configured any longer: ended its 2 sessions")
        without.expect("^listening on ")
        with ForkedProgram("core", *plain, *other) as moved:
            moved.expect("^listening on ")
            ledger.until_active("core-c", "west")
            assert ledger.active("east") == "core-a"


def test_a_core_whose_clock_is_off_leaves_the_shard_to_others(
    ledger: FleetLedger, tmp_path: Path
) -> None:
    document, clock = tmp_path / "app.json", OwnClock(tmp_path / "clock")
    write_document(document, 2)
    source = f"document:{document}?name=app&interval=0.2"
    clock.set(-60)
    why = "clock is [0-9.]+ s behind that of the ledger's server"
    with FleetCore(ledger.url, "core-a", source, clock=clock) as first:

        def refusal() -> CallError:
            with pytest.raises(CallError) as refused:
                first.ids()
            return refused.value

        # It answers before it knows why it stands by.
        refused = eventually(refusal, lambda error: re.search(why, str(error)))
        assert refused.reason == Reason.CORE_STANDBY
        with FleetCore(ledger.url, "core-b", source) as second:
            ids = second.ids_in_time()
            with FleetFront(ledger.url, "front-1") as front:
                asked = "fleet", "--core", front.address
                said = f"shard default: the clock of core-a is [0-9.]+ s behind .*: {NO_TAKEOVER}\n"
                eventually(lambda: run(*asked).stderr, re.compile(said).fullmatch)
            clock.set(0)
            first.expect("agrees with that of the ledger's server again")
            second.process.kill()
            assert first.ids_in_time() == ids
    assert re.search(why, first.output)


def test_a_source_that_ends_its_cores_is_left_out_and_the_others_are_read(
    ledger: FleetLedger, tmp_path: Path
) -> None:
    """Whatever a source does to a core, it does while it is read: here, the test does it."""
    document = tmp_path / "app.json"
    write_document(document, 2)
    with (
        socket.create_server(("127.0.0.1", 0)) as deadly,
        ledger.engine.server.connect(dbname=ledger.database) as told,
    ):
        place = f"127.0.0.1:{deadly.getsockname()[1]}"
        deadly_source = f"postgresql://u@{place}?name=db&timeout=60&shared=true"
        arguments = ("--source", deadly_source, "--shard", "one")

        def until_noted(core: FleetCore, sources: set[str]) -> None:
            asked = "SELECT source FROM sessiongate.first_reads WHERE core = %s"

            def noted() -> set[str]:
                return {name for (name,) in told.execute(asked, (core.name,))}

            eventually(noted, lambda found: found == sources)

        source = f"document:{document}?name=app&interval=0.2"
        for name in ("core-a", "core-b", "core-c"):
            with FleetCore(ledger.url, name, source, *arguments) as core:
                until_noted(core, {"db"})
                if name == "core-a":  # what ends both at once may be their machine
                    with FleetCore(ledger.url, "core-f", source, *arguments) as standby:
                        until_noted(standby, {"db"})
                        standby.process.kill()
                core.process.kill()
        with FleetCore(ledger.url, "core-d", source, *arguments) as core:
            assert len(core.ids_in_time()) == 2
            found = eventually(lambda: said(core.address, "db"))
            why = "3 cores ended while they read it for the first time"
            assert re.fullmatch(rf"left out for [1-6]?\d s: {why}", found)
            until_noted(core, set())
            with FleetCore(ledger.url, "core-e", source, *arguments) as standby:
                standby.expect("source db cannot be read by this core, which stands by: left out")
                until_noted(standby, set())
            core.process.terminate()
            assert core.wait() == 0
        told.execute("UPDATE sessiongate.suspects SET last_end = last_end - interval '1 hour'")
        with FleetCore(ledger.url, "core-d", source, *arguments) as core:
            assert eventually(lambda: said(core.address, "db")).startswith("read after the other")
            until_noted(core, {"db"})
            deadly.close()  # now it fails in order, which ends no core
            until_noted(core, set())
        # It may be down for weeks, and is tried whenever some core is killed.
        told.execute("UPDATE sessiongate.suspects SET last_end = last_end - interval '6 hours'")
        with closing(LedgerConnection(LedgerPlace.parse(ledger.url), "tests")) as connection:

            def begun_by(name: str) -> Verdict:
                reader = SourceReader(name, datetime.now(UTC))
                return begin_first_read(connection, "db", reader, alone=False)

            assert [begun_by(f"killed-{number}").ends for number in range(3)] == [0, 1, 2]


def test_a_beat_does_not_wait_for_what_is_noted_of_many_sources(ledger: FleetLedger) -> None:
    async def main() -> None:
        membership = Membership(ledger.url, MemberEntry("core-a", "default"), AFTER)
        try:
            await membership.join()

            async def note() -> None:
                await membership.call(lambda each: each.execute("SELECT pg_sleep(0.02)"))

            notes = [asyncio.create_task(note()) for _ in range(100)]
            await notes[0]
            before = ledger.member("core-a").beat
            await membership.look()
            assert sum(each.done() for each in notes) < len(notes) / 2
            assert ledger.member("core-a").beat > before
            await asyncio.gather(*notes)
        finally:
            await membership.close()

    asyncio.run(main())


def test_a_core_that_stops_after_a_backup_was_restored_does_not_wait_for_itself(
    ledger: FleetLedger, tmp_path: Path
) -> None:
    document = tmp_path / "app.json"
    write_document(document, 2)
    with FleetCore(ledger.url, "core-a", f"document:{document}?name=app") as core:
        core.ids_in_time()
        with ledger.engine.server.connect(dbname=ledger.database) as told:
            told.execute("UPDATE sessiongate.shards SET claim = claim - 1, pid = 1")
        core.process.terminate()
        assert core.wait() == 0
        assert "waiting until a core" not in core.output


def test_a_core_that_stops_waits_for_a_stand_by_that_has_just_begun(
    ledger: FleetLedger, tmp_path: Path
) -> None:
    document = tmp_path / "app.json"
    write_document(document, 2)
    source = f"document:{document}?name=app&interval=0.2"
    with FleetCore(ledger.url, "core-a", source) as first:
        ids = first.ids_in_time()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(PATIENCE)
            place = f"127.0.0.1:{silent.getsockname()[1]}"
            slow = f"postgresql://u@{place}?name=db&timeout=60"
            with FleetCore(ledger.url, "core-b", source, "--source", slow) as second:
                ledger.until_standing_by("core-b")
                asked, _ = silent.accept()
                first.process.terminate()
                first.expect("waiting until a core that stands by has read its sources")
                asked.close()  # one reading has failed, and so the round has ended
                silent.close()
                assert first.wait() == 0
                ledger.until_active("core-b")
                assert second.ids_in_time() == ids


def said(address: str, source: str) -> str:
    """Return what an active core last said is wrong with a source; nothing if it is another one."""
    try:
        with Client(address) as client:
            return {each.name: each.last_error for each in client.list_sources()}[source]
    except CallError:
        return ""


def test_ids_do_not_begin_anew_with_the_tables(ledger: FleetLedger, tmp_path: Path) -> None:
    """A core that stood by knows which ids were given, also if the ledger has lost them all."""
    document = tmp_path / "app.json"
    write_document(document, 3)
    source = f"document:{document}?name=app&interval=0.2"
    with (
        FleetCore(ledger.url, "core-a", source) as first,
        FleetCore(ledger.url, "core-b", source) as second,
    ):
        await_ready(first.address)
        second.expect("standing by")
        known = first.ids()
        beat = ledger.member("core-b").beat
        # It looks after each beat: it has seen which ids were given.
        eventually(lambda: ledger.member("core-b").beat, lambda found: found > beat + 1)
        ledger.begin_anew()
        first.process.kill()
        ids = eventually(second.ids_in_time, lambda found: len(found) == 3)
        assert min(ids) > max(known)
