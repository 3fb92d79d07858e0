"""Names and start times of this machine's processes, as far as they are visible."""

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
    """Looks processes up, remembering between look-ups what does not change."""

    def __init__(self) -> None:
        # Those of the last look-up. psutil reads a start time once for each
        # object, from a file that is long where a machine has many processors.
        self._known: dict[int, psutil.Process] = {}

    def look_up(self, pids: Iterable[int]) -> dict[int, Process]:
        """The processes that are visible among ``pids``; not those that have just ended."""
        known: dict[int, psutil.Process] = {}
        visible = {}
        for pid in pids:
            try:
                process = self._known.get(pid)
                # A process that is not running leaves its pid to another.
                if process is None or not process.is_running():
                    process = psutil.Process(pid)
                # The name is read each time: a process may become another program.
                visible[pid] = Process(_printable(process.name()), process.create_time())
            # One that ends meanwhile may leave files that psutil finds empty.
            except (psutil.Error, OSError, ValueError, LookupError):
                continue
            known[pid] = process
        self._known = known
        return visible


def _printable(name: str) -> str:
    """A name that any client can be shown: a process calls itself what it likes, in any bytes."""
    return "".join(character if character.isprintable() else "?" for character in name)
