"""The CPU that ``sessiongate list`` takes, beyond the start of an interpreter."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.measures import Found, Measure, Sizes
from bench.programs import BIN, PATIENCE, BenchError
from bench.stack import core, synthetic, wait_until_whole

LISTED = Measure(
    "CPU of `sessiongate list` of {listed:,} sessions, beyond the interpreter's start", "s", 1
)

_TIMES = 3


def measure(sizes: Sizes) -> Found:
    """List all sessions of a core."""
    with (
        TemporaryDirectory(prefix="bench-") as name,
        core(Path(name), synthetic(sizes.listed)) as (_, address),
    ):
        wait_until_whole(address, sizes.listed)
        start = [str(BIN / "python"), "-c", "pass"]
        listing = [str(BIN / "sessiongate"), "list", "--core", address]
        # With a title above them.
        if (lines := _run(listing).count(b"\n")) != sizes.listed + 1:
            raise BenchError(f"{lines} lines are listed")
        yield LISTED, _cpu(listing) - _cpu(start)


def _cpu(command: Sequence[str]) -> float:
    """Return the median of the CPU seconds that a command and its children take."""
    found = []
    for _ in range(_TIMES):
        before = _spent()
        _run(command)
        found.append(_spent() - before)
    return median(found)


def _run(command: Sequence[str]) -> bytes:
    return subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE, check=True).stdout


def _spent() -> float:
    """Return the CPU seconds of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
