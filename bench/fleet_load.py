"""Three cores and a front under load: how late its watchers get changes, and what it costs.

``python -m bench.fleet_load SESSIONS REPLACED READERS SECONDS`` prints, as JSON, the figures of a
fleet of so many sessions, of which so many are replaced each second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from bench.measures import LONG, Found, Measure, Sizes
from bench.programs import BIN, ROOT, BenchError, Program, running
from bench.stack import synthetic
from sessiongate.client import CallError, Client
from sessiongate.v1.session_service_pb2 import ListSessionsRequest

_BUSY = "{fleet:,} sessions, {replaced:,} replaced a second over three cores, {load} s: "
_READ = "{shard:,} sessions over three cores, 0.2 % replaced a second, 64 readers of a front: "


class _Taken(NamedTuple):
    """Figures measured of a fleet."""

    lag: Measure
    cut_off: Measure
    owned: Measure
    followed: Measure


def _taken(load: str, lag: float) -> _Taken:
    return _Taken(
        Measure(f"{load}told later than by their core, p99", "ms", lag),
        Measure(f"{load}watchers cut off", "", 0),
        Measure(f"{load}CPU of the cores for each session that is replaced", "µs"),
        Measure(f"{load}CPU of the front for each session that is replaced", "µs"),
    )


BUSY, READ = _taken(_BUSY, 250), _taken(_READ, 1000)
_CORES, _READERS = 3, 64
_SHARE = 0.002  # of the sessions, replaced each second while many read
_MADE = 0.5  # the least share of the changes that are due
_SETTLING = 10.0  # seconds until changes count


def busy(sizes: Sizes) -> Found:
    """Measure a front that sends many changes to one watcher."""
    yield from _measured(BUSY, sizes.fleet, sizes.replaced, 1, sizes.load)


def read(sizes: Sizes) -> Found:
    """Measure a front with many readers."""
    yield from _measured(READ, sizes.shard, sizes.shard * _SHARE, _READERS, sizes.load)


def _measured(taken: _Taken, sessions: int, replaced: float, readers: int, seconds: int) -> Found:
    given = [str(each) for each in (sessions, replaced, readers, seconds)]
    found: Mapping[str, float] = _run(__name__, *given, timeout=seconds + 4 * LONG)
    yield taken.lag, found["lag"]
    yield taken.cut_off, found["cut off"]
    yield taken.owned, found["cores"]
    yield taken.followed, found["front"]


def _run(module: str, *arguments: str, timeout: float) -> Mapping[str, float]:
    """Return what a module prints as JSON."""
    command = [str(BIN / "python"), "-m", module, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        raise BenchError(f"{' '.join(command[1:])}: {done.stderr[-500:]}")
    found: Mapping[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(sessions: int, replaced: float, readers: int, seconds: int) -> None:
    """Measure a fleet, and print the figures."""
    from tests.faults.engines import ledger_engine

    with ExitStack() as stack:
        engine = stack.enter_context(ledger_engine())
        each = sessions // _CORES
        cores = [
            _started(
                *(stack, engine.url(engine.node.port), f"core-{number}"),
                *("--shard", f"shard-{number}"),
                *synthetic(each, replaced / _CORES, seed=number, name=f"many-{number}"),
            )
            for number in range(_CORES)
        ]
        front = _started(stack, engine.url(engine.node.port), "front", "--fleet")
        addresses = [program.expect(r"listening on (\S+)", LONG) for program in (front, *cores)]
        for address, expected in zip(addresses, (_CORES * each, *[each] * _CORES), strict=True):
            _wait_for(address, expected)
        print(json.dumps(_figures(front, cores, addresses, readers, seconds, replaced)))


def _figures(
    front: Program,
    cores: Sequence[Program],
    addresses: Sequence[str],
    readers: int,
    seconds: int,
    replaced: float,
) -> dict[str, float]:
    command = [str(BIN / "python"), "-m", "bench.fleet_readers", str(readers), *addresses]
    reading = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with reading:
        assert reading.stdin is not None
        assert reading.stdout is not None
        try:
            if not reading.stdout.readline():
                raise BenchError("the readers of a front have ended")
            time.sleep(_SETTLING)
            reading.stdin.write("begin\n")
            reading.stdin.flush()
            before = front.cpu(), sum(each.cpu() for each in cores)
            time.sleep(seconds)
            after = front.cpu(), sum(each.cpu() for each in cores)
            told = json.loads(reading.communicate("end\n", LONG)[0])
        finally:
            reading.kill()
    made = told["replaced"]
    if made < replaced * seconds * _MADE:
        raise BenchError(f"{made:,} of {replaced * seconds:,.0f} replacements were made")
    cost = [1e6 * (now - then) / made for now, then in zip(after, before, strict=True)]
    return {"lag": 1000 * told["lag"], "cut off": told["ended"], "front": cost[0], "cores": cost[1]}


def _started(stack: ExitStack, url: str, name: str, *arguments: str) -> Program:
    command = (str(BIN / "sessiongate"), "core", "--grpc", "127.0.0.1:0", "--name", name)
    return stack.enter_context(running([*command, *arguments], SESSIONGATE_LEDGER=url))


def _wait_for(address: str, sessions: int) -> None:
    """Wait until a program shows this many sessions."""
    until = time.monotonic() + LONG
    with Client(address) as client:
        while True:
            try:
                page = client.list_sessions(ListSessionsRequest(page_size=1))
                if page.total_size == sessions and not page.unreachable:
                    return
            except CallError:
                pass
            if time.monotonic() > until:
                raise BenchError(f"{address} does not show {sessions:,} sessions")
            time.sleep(0.2)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
