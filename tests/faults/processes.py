"""The resources that the processes of a running program use."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import psutil

from tests.program import Serving

MIB = 1024 * 1024
_PERIOD = 0.1  # seconds from one sample to the next


@dataclass(frozen=True, slots=True)
class Usage:
    """A process's resident bytes, and its open files and connections."""

    resident: int
    descriptors: int


def processes(serving: Serving) -> dict[str, psutil.Process]:
    """Return the program's processes by role: "serve", "core", "worker 1" and so on."""
    core = serving.core()
    found = {"serve": psutil.Process(serving.process.pid), "core": core}
    return found | {f"worker {number}": each for number, each in enumerate(serving.workers(), 1)}


def usage(serving: Serving) -> dict[str, Usage]:
    """Return what each process has now."""
    return {
        name: Usage(process.memory_info().rss, process.num_fds())
        for name, process in processes(serving).items()
    }


def grown(before: dict[str, Usage], after: dict[str, Usage]) -> dict[str, int]:
    """Return by how many MiB each process has grown; the processes must be the same."""
    assert before.keys() == after.keys()
    return {name: round((after[name].resident - before[name].resident) / MIB) for name in before}


def peaks(serving: Serving) -> dict[str, int]:
    """Return the most MiB that each process has ever had resident."""
    found = {}
    for name, process in processes(serving).items():
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        found[name] = int(line.split()[1]) // 1024
    return found


def peak(process: psutil.Process, seconds: float) -> int:
    """Sample ten times a second; return the most bytes that a process has resident meanwhile."""
    most = process.memory_info().rss
    deadline, clock = time.monotonic() + seconds, Event()  # which is never set
    while time.monotonic() < deadline:
        clock.wait(_PERIOD)
        most = max(most, process.memory_info().rss)
    return most
