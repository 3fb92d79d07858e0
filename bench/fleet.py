"""The group ``fleet``: how long a front lacks a shard whose active core fails.

``python -m bench.fleet SESSIONS TIMES`` prints, as JSON, the longest of that many take-overs by
what befell the active core.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event
from typing import TypeAlias

from bench.measures import LONG, Found, Measure, Sizes
from bench.programs import BIN, ROOT, BenchError, Program, running
from bench.stack import synthetic
from sessiongate.client import CallError, Client
from sessiongate.v1.session_service_pb2 import ListSessionsRequest

_OF = "take-over in a front, {shard:,} sessions a shard, longest of {takeovers}: active core "
KILLED = Measure(_OF + "killed", "s", 4)
STOPPED = Measure(_OF + "stopped", "s", 9)
COPYING = Measure(_OF + "stopped within COPY", "s", 9)
CUT = Measure(_OF + "cut off from PostgreSQL in silence", "s", 9)
_CPU = "take-over, {shard:,} sessions a shard: CPU, median, of "
CORE_CPU = Measure(_CPU + "the core that takes over", "s")
FRONT_CPU = Measure(_CPU + "a front", "s")
MEASURES = (KILLED, STOPPED, COPYING, CUT, CORE_CPU, FRONT_CPU)

_NAMES, FRONT = ("core-a", "core-b"), "front"
_FEW, _MANY = 10, 500  # sessions of the document, which change so that something is written
_PAUSE = 0.02  # seconds between two looks
_TAKES = 3600.0  # seconds
_ONE = ListSessionsRequest(page_size=1)


def measure(sizes: Sizes) -> Found:
    """Let two cores take over from each other, again and again."""
    command = [str(BIN / "python"), "-m", __name__, str(sizes.shard), str(sizes.takeovers)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=_TAKES, check=False
    )
    if done.returncode:
        raise BenchError(f"{' '.join(command[1:])}: {done.stderr[-500:]}")
    found: Mapping[str, float] = json.loads(done.stdout)
    for each in MEASURES:
        yield each, found[each.text]


class _Shard:
    """Two cores with the same sources, and a front, each over a link of its own."""

    def __init__(self, folder: Path, sessions: int, stack: ExitStack) -> None:
        from tests.faults.documents import write_document
        from tests.faults.engines import ledger_engine
        from tests.faults.links import Links

        self._folder, self._sessions, self._write = folder, sessions, write_document
        self._engine = stack.enter_context(ledger_engine())
        links = stack.enter_context(Links(self._engine.node.port))
        self.links = {name: links.add() for name in (*_NAMES, FRONT)}
        self._running: dict[str, ExitStack] = {}
        self._programs: dict[str, Program] = {}
        stack.callback(self._end)
        self.write(_FEW)
        for name in _NAMES:
            self.start(name)
        self._start(FRONT, "--fleet")
        address = self._programs[FRONT].expect(r"listening on (\S+)", LONG)
        self._client = stack.enter_context(Client(address))
        self.active = self.wait_for(*_NAMES)

    def write(self, sessions: int) -> None:
        """Replace the document by one with this many sessions."""
        self._write(self._folder / "app.json", sessions)
        self._expected = self._sessions + sessions

    def start(self, name: str) -> None:
        """Start one of the cores."""
        document = f"document:{self._folder}/app.json?name=app&interval=0.2"
        sources = [*synthetic(self._sessions, name="many"), "--source", document]
        self._start(name, "--shard", "orders", *sources)

    def _start(self, name: str, *arguments: str) -> None:
        stack = self._running[name] = ExitStack()
        url = self._engine.url(self.links[name].port)
        command = (str(BIN / "sessiongate"), "core", "--grpc", "127.0.0.1:0", "--name", name)
        self._programs[name] = stack.enter_context(
            running([*command, *arguments], SESSIONGATE_LEDGER=url)
        )

    def kill(self, name: str) -> None:
        """Kill one of the cores."""
        self._programs[name].processes()[0].kill()

    def cpu(self, name: str) -> float:
        """Return the CPU seconds that one of the programs has taken."""
        return self._programs[name].cpu()

    def again(self, name: str) -> None:
        """Start one that was killed."""
        self._running.pop(name).close()
        self.start(name)

    def stop(self, name: str) -> None:
        """Stop one of the cores (SIGSTOP)."""
        self._programs[name].processes()[0].suspend()

    def go_on(self, name: str) -> None:
        """Let one go on that was stopped."""
        self._programs[name].processes()[0].resume()

    def wait_for(self, *names: str) -> str:
        """Wait until the front shows all sessions as one of these cores sees them; return it."""
        until = time.monotonic() + LONG
        while (found := self._shown()) not in names:
            if time.monotonic() > until:
                raise BenchError(f"no core has taken over:\n{self._outputs()}")
            time.sleep(_PAUSE)
        return found

    def wait_for_standby(self, since: datetime) -> None:
        """Wait until the core that stands by has read its sources since then, and both beat."""
        look = (
            "SELECT beat, name, observed FROM sessiongate.cores WHERE name = ANY(%s) ORDER BY name"
        )
        before, until = self._engine.execute(look, ([*_NAMES],)), time.monotonic() + LONG
        while True:
            time.sleep(3)
            found = self._engine.execute(look, ([*_NAMES],))
            is_read = any(
                observed and observed > since for _, name, observed in found if name != self.active
            )
            if is_read and all(now[0] > was[0] for now, was in zip(found, before, strict=True)):
                return
            before = found
            if time.monotonic() > until:
                raise BenchError(f"no core stands by:\n{self._outputs()}")

    def _shown(self) -> str | None:
        try:
            page, sources = self._client.list_sessions(_ONE), self._client.list_sources()
        except CallError:
            return None
        cores = {each.core for each in sources}
        is_whole = not page.unreachable and page.total_size == self._expected
        return cores.pop() if is_whole and len(cores) == 1 else None

    def _outputs(self) -> str:
        return "\n".join(f"{name}: {each.output}" for name, each in self._programs.items())

    def _end(self) -> None:
        for stack in self._running.values():
            stack.close()


# Each returns when the core failed, and what repairs it.
_Failed: TypeAlias = tuple[float, Callable[[], None]]


def _killed(shard: _Shard, core: str) -> _Failed:
    began = time.monotonic()
    shard.kill(core)
    return began, lambda: shard.again(core)


def _stopped(shard: _Shard, core: str) -> _Failed:
    began = time.monotonic()
    shard.stop(core)
    return began, lambda: shard.go_on(core)


def _copying(shard: _Shard, core: str) -> _Failed:
    stopped, moments = Event(), list[float]()

    def stop(sent: bytes) -> None:
        if b"COPY" in sent and not stopped.is_set():
            moments.append(time.monotonic())
            shard.stop(core)
            stopped.set()

    shard.links[core].when_sent(stop)
    shard.write(_MANY)
    if not stopped.wait(LONG):
        raise BenchError("nothing was written")
    shard.links[core].when_sent(None)

    def mend() -> None:
        shard.go_on(core)
        shard.write(_FEW)

    return moments[0], mend


def _cut(shard: _Shard, core: str) -> _Failed:
    began = time.monotonic()
    shard.links[core].silence()
    return began, shard.links[core].heal


_FAILURES = {KILLED: _killed, STOPPED: _stopped, COPYING: _copying, CUT: _cut}


def main(sessions: str, times: str) -> None:
    """Measure, and print the figures."""
    found: dict[str, float] = {}
    cpu: dict[str, list[float]] = {CORE_CPU.text: [], FRONT_CPU.text: []}
    with TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
        failed_at = datetime.now(UTC)
        shard = _Shard(Path(folder), int(sessions), stack)
        for each, fail in _FAILURES.items():
            for _ in range(int(times)):
                shard.wait_for_standby(failed_at)
                failed_at = datetime.now(UTC)
                failed = shard.active
                (other,) = {*_NAMES} - {failed}
                programs = dict(zip(cpu, (other, FRONT), strict=True))
                before = {what: shard.cpu(name) for what, name in programs.items()}
                began, mend = fail(shard, failed)
                shard.active = shard.wait_for(other)
                took = time.monotonic() - began
                for what, name in programs.items():
                    cpu[what].append(shard.cpu(name) - before[what])
                taken = ", ".join(f"{each[-1]:.2f} s" for each in cpu.values())
                print(f"{fail.__name__}: {took:.2f} s; CPU {taken}", file=sys.stderr, flush=True)
                found[each.text] = max(took, found.get(each.text, 0.0))
                mend()
                shard.wait_for(other)
    print(json.dumps({**found, **{what: median(each) for what, each in cpu.items()}}))


if __name__ == "__main__":
    main(*sys.argv[1:])
