"""A clock of a forked program's own, which can be set while it runs."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = "TESTS_CLOCK"
_LENGTH = 8  # bytes


class OwnClock:
    """The clock of the forked programs that have its environment."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.environment = {_VARIABLE: str(file)}
        self.set(0)

    def set(self, seconds: float) -> None:
        """Set it to that many seconds ahead of this machine's clock."""
        shift = int(seconds * 1e9).to_bytes(_LENGTH, "little", signed=True)
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(shift)


def follow_own_clock(environment: Mapping[str, str]) -> None:
    """Let this process have the clock of an environment, if that has one."""
    if _VARIABLE not in environment:
        return
    descriptor = os.open(environment[_VARIABLE], os.O_RDONLY)
    shift = mmap.mmap(descriptor, _LENGTH, prot=mmap.PROT_READ)
    os.close(descriptor)
    real = time.time_ns

    def now() -> int:
        return real() + int.from_bytes(shift[:_LENGTH], "little", signed=True)

    time.time_ns = now
    time.time = lambda: now() / 1e9
