"""What the processes of a running program take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import psutil

from tests.program import Serving

MIB = 1024 * 1024
_PERIOD = 0.1  # seconds from one look at a process to the next


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process has: resident bytes, and open files and connections."""

    resident: int
    descriptors: int


def processes(serving: Serving) -> dict[str, psutil.Process]:
    """The program's processes by what they are: "serve", "core", "worker 1" and so on."""
    core = serving.core()
    found = {"serve": psutil.Process(serving.process.pid), "core": core}
    workers = [child for child in serving.children() if "spawn_main" in " ".join(child.cmdline())]
    return found | {f"worker {number}": each for number, each in enumerate(workers, 1)}


def usage(serving: Serving) -> dict[str, Usage]:
    """What each process has just now."""
    return {
        name: Usage(process.memory_info().rss, process.num_fds())
        for name, process in processes(serving).items()
    }


def grown(before: dict[str, Usage], after: dict[str, Usage]) -> dict[str, int]:
    """By how many MiB each process has grown; the processes must be the same."""
    assert before.keys() == after.keys()
    return {name: round((after[name].resident - before[name].resident) / MIB) for name in before}


def peaks(serving: Serving) -> dict[str, int]:
    """The most MiB that each process has ever had resident."""
    found = {}
    for name, process in processes(serving).items():
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        found[name] = int(line.split()[1]) // 1024
    return found


def peak(process: psutil.Process, seconds: float) -> int:
    """The most bytes that a process has resident in the next seconds, looked at ten times each."""
    most = process.memory_info().rss
    deadline, clock = time.monotonic() + seconds, Event()  # which is never set
    while time.monotonic() < deadline:
        clock.wait(_PERIOD)
        most = max(most, process.memory_info().rss)
    return most
