"""A gateway whose core's sessions are replaced all the time, to one whose core's stay.

Both run at once, and are loaded in turn: without churn, with, with, without. Programs under churn
use CPU all the time, so they are stopped while the others are loaded. What was measured minutes
apart differed by more than churn costs; so do two starts of the same program, by up to a tenth, so
that each round starts both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from bench.checks import Asked, Checks
from bench.load import wrk
from bench.paths import ALL
from bench.programs import BenchError
from bench.stack import GATEWAY, Stack, Stage, standing

# Seconds that programs have at least after they were stopped: a source replaces then what was due
# meanwhile, and a gateway's copy becomes current again.
_RESUMING = 3.0


@dataclass(slots=True)
class Churned:
    """Rates with churn, to those without just before or after, by path."""

    ratios: dict[str, list[float]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)  # why a path was not measured

    def medians(self) -> dict[str, float]:
        """Return the median of the ratios by path, of those that were measured."""
        return {path: median(ratios) for path, ratios in self.ratios.items()}

    def least(self) -> float | None:
        """Return the least of the medians; None unless all paths were measured."""
        return None if self.faults else min(self.medians().values(), default=None)


def measure(
    stage: Stage, paths: Sequence[str], rounds: int, seconds: int, report: Callable[[str], None]
) -> Churned:
    """Measure two ratios a round for each path. Raises `BenchError` if nothing starts."""
    found = Churned()
    for _ in range(rounds):
        with _gateway(stage, churning=False) as calm, _gateway(stage, churning=True) as busy:
            for path in paths:
                if path in found.faults:
                    continue
                try:
                    ratios = _round(calm, busy, calm.ask(path), busy.ask(path), seconds)
                    found.ratios.setdefault(path, []).extend(ratios)
                except BenchError as error:
                    found.ratios.pop(path, None)
                    found.faults[path] = str(error)
                    report(f"  {path}: {error}")
    for path, ratio in found.medians().items():
        report(f"  {path:20} {ratio:10.2f}")
    return found


@dataclass(frozen=True, slots=True)
class _Gateway:
    """A gateway in front of a core of its own."""

    stage: Stage
    stack: Stack

    @property
    def address(self) -> str:
        return self.stack.servers[GATEWAY].address

    def ask(self, path: str) -> Asked:
        """Check the response on a path. Raises `BenchError`."""
        return Checks(self.stage, self.stack).ask(path, GATEWAY, self.address)

    def rate(self, asked: Asked, seconds: int) -> float:
        """Return the responses a second under load. Raises `BenchError`."""
        return wrk(self.address, asked, seconds).rate

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the gateway's and the core's processes until the context ends."""
        programs = (self.stack.servers[GATEWAY].program, self.stack.core)
        processes = [process for program in programs for process in program.processes()]
        try:
            for process in processes:
                process.suspend()
            yield
        finally:
            for process in reversed(processes):
                with suppress(psutil.NoSuchProcess):  # it has ended, as the next load will show
                    process.resume()


@contextmanager
def _gateway(stage: Stage, *, churning: bool) -> Iterator[_Gateway]:
    stage = replace(stage, churning=churning)
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        standing(stage, [GATEWAY], Path(folder)) as stack,
    ):
        yield _Gateway(stage, stack)


def _round(
    calm: _Gateway, busy: _Gateway, without: Asked, with_churn: Asked, seconds: int
) -> tuple[float, float]:
    """Return the ratios of one load to that before, and of the next one to that after."""
    with busy.stopped():
        before = calm.rate(without, seconds)
    time.sleep(_RESUMING)
    busy.ask(ALL)  # which waits until the copy answers
    first, second = (busy.rate(with_churn, seconds) for _ in range(2))
    with busy.stopped():
        after = calm.rate(without, seconds)
    return first / before, second / after
