"""Rounds: every server under load on every path, once per round, side by side.

Each round restarts everything and goes through all stages, so that changes on the
machine meanwhile affect all of them equally.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.bare import keep
from bench.checks import Asked, Checks
from bench.load import Load, wrk
from bench.paths import FULL_SIZE, paths_of, servers_of
from bench.programs import BenchError, Program
from bench.stack import BARE, GATEWAY, HELLO, Server, Stage, bare, standing

STAGES = (Stage(1_000), Stage(FULL_SIZE), Stage(FULL_SIZE, churning=True), Stage(100_000))

# Quiet is less than this share of a CPU, for `_QUIET_FOR` seconds, in all programs together.
_QUIET = 0.1
_QUIET_FOR = 0.5
_SETTLING = 8.0


@dataclass(frozen=True, slots=True)
class Cell:
    """A measured combination: a server, a path and a stage."""

    path: str
    server: str
    stage: Stage


@dataclass(frozen=True, slots=True)
class Sample:
    """One round's load on a cell, and the CPU seconds of each response."""

    load: Load
    front: float  # in the server and its processes
    core: float  # in the core behind it


@dataclass(slots=True)
class Figures:
    """The findings of all rounds."""

    samples: dict[Cell, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    lengths: dict[Cell, int] = field(default_factory=dict)  # of the answers, in bytes
    # Resident bytes of a gateway's worker, by the number of sessions, once it is loaded.
    resident: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[Cell, str] = field(default_factory=dict)  # why a cell was not measured

    def median(self, cell: Cell, value: Callable[[Sample], float]) -> float | None:
        """Return the median of the rounds, or None if the cell was not measured."""
        samples = self.samples.get(cell)
        return median(map(value, samples)) if samples and cell not in self.faults else None

    def memory(self, sessions: int) -> float | None:
        """Return the median of resident bytes."""
        found = self.resident.get(sessions)
        return median(found) if found else None

    def rate(self, path: str, server: str, stage: Stage) -> float | None:
        """Return the answers a second."""
        return self.median(Cell(path, server, stage), lambda sample: sample.load.rate)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one round."""

    stages: Sequence[Stage]
    paths: Sequence[str]
    seconds: int  # of load on each cell

    def cells(self, stage: Stage) -> list[Cell]:
        """Return a stage's cells, grouped by path."""
        return [
            Cell(path, server, stage)
            for path in paths_of(stage)
            for server in servers_of(path, stage)
            if path in self.paths
        ]


def measure(plan: Plan, figures: Figures, report: Callable[[str], None]) -> None:
    """Run one round, and add its findings. Raises `BenchError` if nothing can be measured."""
    for stage in plan.stages:
        if cells := plan.cells(stage):
            report(f"{stage.name} sessions")
            with TemporaryDirectory(prefix="bench-") as folder:
                _measure_stage(stage, cells, plan.seconds, Path(folder), figures, report)


def _measure_stage(
    stage: Stage,
    cells: Sequence[Cell],
    seconds: int,
    folder: Path,
    figures: Figures,
    report: Callable[[str], None],
) -> None:
    with ExitStack() as context:
        names = {cell.server for cell in cells}
        # The bare server sends the gateway's responses.
        started = {GATEWAY, *names} if BARE in names else names
        stack = context.enter_context(standing(stage, started, folder))
        checks = Checks(stage, stack)
        servers = dict(stack.servers)
        if BARE in names or HELLO in names:
            keep(folder, checks.references({cell.path for cell in cells}))
            server = context.enter_context(bare(folder))
            servers |= {BARE: server, HELLO: server}
        asked = {}
        for cell in cells:
            try:
                asked[cell] = checks.ask(cell.path, cell.server, servers[cell.server].address)
                figures.lengths[cell] = asked[cell].length
            except BenchError as error:
                figures.faults[cell] = str(error)
                report(f"  {cell.path}, {cell.server}: {error}")
        _settle([stack.core, *(server.program for server in servers.values())])
        for cell in asked:
            try:
                sample = _load(asked[cell], cell, servers[cell.server], stack.core, seconds)
            except BenchError as error:
                figures.faults[cell] = str(error)
                report(f"  {cell.path}, {cell.server}: {error}")
                continue
            figures.samples[cell].append(sample)
            report(f"  {cell.path:20} {cell.server:20} {sample.load.rate:10.1f}/s")
        if GATEWAY in names and not stage.churning:
            resident = max(_resident(stack.servers[GATEWAY].program))
            figures.resident[stage.sessions].append(resident)


def _load(asked: Asked, cell: Cell, server: Server, core: Program, seconds: int) -> Sample:
    front, behind = server.program.cpu(), core.cpu()
    load = wrk(server.address, asked, seconds)
    front, behind = server.program.cpu() - front, core.cpu() - behind
    return Sample(load, front / load.answers, behind / load.answers)


def _settle(programs: Sequence[Program]) -> None:
    """Wait until the programs are idle, at most `_SETTLING` seconds."""
    end = time.monotonic() + _SETTLING
    while time.monotonic() < end:
        before = sum(program.cpu() for program in programs)
        time.sleep(_QUIET_FOR)
        if sum(program.cpu() for program in programs) - before < _QUIET * _QUIET_FOR:
            return


def _resident(program: Program) -> list[int]:
    return [process.memory_info().rss for process in program.processes()]
