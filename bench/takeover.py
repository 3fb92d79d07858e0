"""How long a shard has no core: from a fault of its active core until the next one answers for it.

``python -m bench.takeover [WAY …] [--sessions N] [--times N]`` runs two cores over one real
PostgreSQL again and again, and prints for each way how long it took until the other core listed all
sessions, with the same ids. Most sessions do not change; some others are replaced all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median

import psycopg

from sessiongate.client import CallError, Client
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, SessionFilter
from tests.core.engines import running_engine
from tests.fleet import FleetCore, FleetLedger, fleet_ledger
from tests.relay import Relay

STEADY, CHURNING = "steady", "churning"  # the two sources
PATIENCE = 120.0  # seconds
_LOOK = 0.02  # seconds
_COPYING = """
SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND query LIKE 'COPY%%'
"""


class Core(FleetCore):
    """A core whose way to the ledger's server can be cut."""

    def __init__(self, ledger: FleetLedger, name: str, sessions: int) -> None:
        port = ledger.engine.server.port
        self.relay = subprocess.Popen(
            [sys.executable, "-m", "bench.takeover", "--relay", str(port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.relay.stdout is not None
        url = ledger.engine.url(ledger.database, port=int(self.relay.stdout.readline()))
        steady = f"synthetic:?sessions={sessions}&name={STEADY}"
        changing = f"synthetic:?sessions=2000&churn=1000&seed=2&name={CHURNING}"
        super().__init__(url, name, steady, "--source", changing)

    def shown(self) -> tuple[int, set[int]] | None:
        """Return how many steady sessions it shows, and some of their ids; None without answer."""
        request = ListSessionsRequest(page_size=1000, filter=SessionFilter(sources=[STEADY]))
        try:
            with Client(self.address, timeout=1) as client:
                answer = client.list_sessions(request)
        except CallError:
            return None
        if answer.unreachable:
            return None
        return answer.total_size, {each.id for each in answer.sessions}

    def close(self) -> None:
        self.relay.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        super().close()
        self.relay.kill()
        self.relay.wait()


def killed(ledger: FleetLedger, core: Core) -> None:
    """Kill the core."""
    core.process.kill()


def terminated(ledger: FleetLedger, core: Core) -> None:
    """Stop the core in order."""
    core.process.terminate()


def stopped(ledger: FleetLedger, core: Core) -> None:
    """Let the core hang."""
    core.process.send_signal(signal.SIGSTOP)


def stopped_in_copy(ledger: FleetLedger, core: Core) -> None:
    """Let the core hang while it writes."""
    found = ledger.fleet().shard("default")
    assert found
    assert found.active
    with ledger.engine.server.connect(dbname=ledger.database) as client:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if not _is_copying(client, found.active.backend.pid):
                continue
            core.process.send_signal(signal.SIGSTOP)
            time.sleep(_LOOK)
            if _is_copying(client, found.active.backend.pid):
                return
            core.process.send_signal(signal.SIGCONT)
            time.sleep(_LOOK)
    raise AssertionError("the core was never stopped while it wrote")


def _is_copying(client: psycopg.Connection, pid: int) -> bool:
    return client.execute(_COPYING, (pid,)).fetchone() == (1,)


def cut_off(ledger: FleetLedger, core: Core) -> None:
    """Let nothing pass between the core and the ledger's server, without either's knowledge."""
    core.relay.send_signal(signal.SIGSTOP)


WAYS: Mapping[str, Callable[[FleetLedger, Core], None]] = {
    "terminated": terminated,
    "killed": killed,
    "stopped": stopped,
    "stopped-in-copy": stopped_in_copy,
    "cut-off": cut_off,
}


def measure(ways: list[str], sessions: int, times: int) -> Iterator[tuple[str, list[float]]]:
    """Yield for each way how many seconds each take-over took."""
    with (
        running_engine() as engine,
        fleet_ledger(engine) as ledger,
        _two(ledger, sessions) as two,
    ):
        await_shown(two[0], sessions)
        for way in ways:
            took = []
            for _ in range(times):
                active, other = two
                ledger.until_standing_by(other.name)
                _, ids = await_shown(active, sessions)
                began = time.monotonic()
                WAYS[way](ledger, active)
                if way == "stopped-in-copy":
                    began = time.monotonic()  # it has waited for the moment
                _, found = await_shown(other, sessions)
                took.append(time.monotonic() - began)
                print(f"{way}: {took[-1]:.2f} s", file=sys.stderr, flush=True)
                assert found == ids, "some have other ids"
                active.close()
                two[:] = [other, Core(ledger, active.name, sessions)]
            yield way, took


@contextmanager
def _two(ledger: FleetLedger, sessions: int) -> Iterator[list[Core]]:
    two = []
    try:
        two.append(Core(ledger, "core-a", sessions))
        two.append(Core(ledger, "core-b", sessions))
        yield two
    finally:
        for core in two:
            core.close()


def await_shown(core: Core, sessions: int) -> tuple[int, set[int]]:
    """Wait until a core shows all steady sessions; return what it shows."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        shown = core.shown()
        if shown is not None and shown[0] == sessions:
            return shown
        time.sleep(_LOOK)
    raise AssertionError(f"{core.name} does not show all sessions:\n{core.output}")


async def pass_on(port: int) -> None:
    """Pass on what comes for a server, until ended; print the port."""
    async with Relay(port) as relay:
        print(relay.port, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Measure, and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--relay", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.relay is not None:
        asyncio.run(pass_on(arguments.relay))
        return
    if unknown := [way for way in arguments.ways if way not in WAYS]:
        parser.error(f"unknown way {unknown[0]!r}; allowed are {', '.join(WAYS)}")
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{arguments.sessions:,} sessions, {load}", flush=True)
    for way, took in measure(arguments.ways or [*WAYS], arguments.sessions, arguments.times):
        print(
            f"{way:16} median {median(took):5.2f} s, most {max(took):5.2f} s"
            f" ({', '.join(f'{each:.2f}' for each in took)})",
            flush=True,
        )


if __name__ == "__main__":
    main()
