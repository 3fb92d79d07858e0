"""A gateway whose core's sessions are replaced all the time, to one whose core's stay.

Both run at once, and are loaded in turn: without churn, with, with, without. Programs under churn
use CPU all the time, so they are stopped while the others are loaded. What was measured minutes
apart differed by more than churn costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeAlias

import psutil

from bench.checks import Asked, Checks
from bench.load import wrk
from bench.programs import Program
from bench.stack import GATEWAY, Stack, Stage, standing

# Rates with churn, to those without just before or after, by path.
Ratios: TypeAlias = Mapping[str, Sequence[float]]

# Seconds that programs have after they were stopped: a source replaces then what was due meanwhile,
# and a gateway's copy becomes current again.
_RESUMING = 3.0


def measure(
    stage: Stage, paths: Sequence[str], rounds: int, seconds: int, report: Callable[[str], None]
) -> Ratios:
    """Return two ratios a round for each path. Raises `BenchError`."""
    with (
        TemporaryDirectory(prefix="bench-") as still,
        TemporaryDirectory(prefix="bench-") as churning,
        standing(replace(stage, churning=False), [GATEWAY], Path(still)) as calm,
        standing(replace(stage, churning=True), [GATEWAY], Path(churning)) as busy,
    ):
        found: dict[str, Sequence[float]] = {}
        checks = (
            Checks(replace(stage, churning=False), calm),
            Checks(replace(stage, churning=True), busy),
        )
        asked = {
            path: [
                check.ask(path, GATEWAY, stack.servers[GATEWAY].address)
                for check, stack in zip(checks, (calm, busy), strict=True)
            ]
            for path in paths
        }
        for path, (without, with_churn) in asked.items():
            ratios = [
                ratio
                for _ in range(rounds)
                for ratio in _round(calm, without, busy, with_churn, seconds)
            ]
            report(f"  {path:20} {median(ratios):10.2f}")
            found[path] = ratios
        return found


def _round(
    calm: Stack, without: Asked, busy: Stack, with_churn: Asked, seconds: int
) -> Iterator[float]:
    """Yield the ratios of a load before churn, and of one after."""
    with _stopped(busy):
        before = _rate(calm, without, seconds)
    time.sleep(_RESUMING)
    first, second = (_rate(busy, with_churn, seconds) for _ in range(2))
    yield first / before
    with _stopped(busy):
        yield second / _rate(calm, without, seconds)


def _rate(stack: Stack, asked: Asked, seconds: int) -> float:
    return wrk(stack.servers[GATEWAY].address, asked, seconds).rate


@contextmanager
def _stopped(stack: Stack) -> Iterator[None]:
    """Stop the programs of a stack until the context ends."""
    programs: Sequence[Program] = [
        *(server.program for server in stack.servers.values()),
        stack.core,
    ]
    processes = [process for program in programs for process in program.processes()]
    try:
        for process in processes:
            process.suspend()
        yield
    finally:
        for process in reversed(processes):
            with suppress(psutil.NoSuchProcess):  # what it was measured for reports that
                process.resume()
