"""A core under churn: how long its callers wait, what it takes, and when it tells of changes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from bench.caller import calling
from bench.measures import LONG, Found, Measure, Sizes
from bench.programs import BenchError, Program
from bench.stack import core, steady, steady_id, synthetic, wait_until_ready
from bench.watcher import Churning, Watcher, first_observation

_MANY = "{churning:,} sessions of 50 sources, 1 % replaced each second: "
_ONE = "{churning:,} sessions of one source, 5 % replaced each second: "
_WAIT = "longest wait of a GetSession, ten a second"
MANY_WAIT = Measure(_MANY + _WAIT, "ms", 100)
MANY_CPU = Measure(_MANY + "CPU of the core", "%", 60)
ONE_WAIT = Measure(_ONE + _WAIT, "ms", 250)
ONE_CPU = Measure(_ONE + "CPU of the core", "%")
ONE_TOLD = Measure(_ONE + "until a watcher is told, the latest change", "s", 3)

_SOURCES = 50
_SETTLING = 3.0  # seconds from the first list to the first measured call


def many_sources(sizes: Sizes) -> Found:
    """Measure a core with many sources."""
    each = sizes.churning // _SOURCES
    options = [synthetic(each, each * 0.01, seed=n, name=f"s{n}") for n in range(_SOURCES)]
    with _running([option for each in options for option in each]) as (program, address):
        yield from _waits(program, address, sizes.seconds, (MANY_WAIT, MANY_CPU))


def one_source(sizes: Sizes) -> Found:
    """Measure a core with one large source, and what a watcher is told."""
    source = Churning("large", sizes.churning, sizes.churning * 0.05)
    options = synthetic(source.sessions, source.churn, name=source.name)
    with _running(options) as (program, address), grpc.insecure_channel(address) as channel:
        watcher = Watcher(channel, source)
        if not watcher.synced.wait(LONG):
            raise BenchError("a watcher gets no snapshot")
        since = time.time()
        yield from _waits(program, address, sizes.seconds, (ONE_WAIT, ONE_CPU))
        until = time.time()
        began = first_observation(channel, source)
        watcher.stop()
        yield ONE_TOLD, watcher.longest(began, since, until)


@contextmanager
def _running(sources: Sequence[str]) -> Iterator[tuple[Program, str]]:
    """Run a core until it is ready, with these sources and the session that stays."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with core(folder, [*steady(folder), *sources], LONG) as (program, address):
            wait_until_ready(address, LONG)
            yield program, address


def _waits(program: Program, core: str, seconds: float, taken: tuple[Measure, Measure]) -> Found:
    with calling(core, steady_id(core)) as caller:
        time.sleep(_SETTLING)
        began, cpu = time.monotonic(), program.cpu()
        time.sleep(seconds)
        took, cpu = time.monotonic() - began, program.cpu() - cpu
        waits = caller.stop()
    wait, of_cpu = taken
    yield wait, 1000 * max(each.took for each in waits if each.began + each.took >= began)
    yield of_cpu, 100 * cpu / took
