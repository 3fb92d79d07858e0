"""Names and start times of this machine's visible processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Process:
    """A visible process."""

    name: str
    start_time: float  # seconds since the epoch


class ProcessTable:
    """Looks up processes, and keeps what does not change between look-ups."""

    def __init__(self) -> None:
        # The processes of the last look-up. psutil reads a start time once for each
        # object, from a file that is long on machines with many processors.
        self._known: dict[int, psutil.Process] = {}

    def look_up(self, pids: Iterable[int]) -> dict[int, Process]:
        """Return the visible processes among ``pids``, without those that have just ended."""
        known: dict[int, psutil.Process] = {}
        visible = {}
        for pid in pids:
            try:
                process = self._known.get(pid)
                # Once a process has ended, its pid may be assigned to another.
                if process is None or not process.is_running():
                    process = psutil.Process(pid)
                # The name is read each time: a process may execute another program.
                visible[pid] = Process(_printable(process.name()), process.create_time())
            # A process that ends meanwhile may leave files that psutil finds empty.
            except (psutil.Error, OSError, ValueError, LookupError):
                continue
            known[pid] = process
        self._known = known
        return visible


def _printable(name: str) -> str:
    """Make a name safe to print: a process may give itself any name, of any bytes."""
    return "".join(character if character.isprintable() else "?" for character in name)
