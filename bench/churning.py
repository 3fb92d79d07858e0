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
from bench.stack import core, steady, steady_id, synthetic, wait_until_whole
from bench.watcher import Churning, Watcher, first_observation
from sessiongate.v1.session_service_pb2 import ListSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub

_MANY = "{churning:,} sessions of 50 sources, 1 % replaced each second: "
_ONE = "{churning:,} sessions of one source, 5 % replaced each second: "
_WAIT = "longest wait of a GetSession, ten a second"
MANY_WAIT = Measure(_MANY + _WAIT, "ms", 100)
MANY_CPU = Measure(_MANY + "CPU of the core", "%", 60)
ONE_WAIT = Measure(_ONE + _WAIT, "ms", 250)
ONE_CPU = Measure(_ONE + "CPU of the core", "%")
ONE_TOLD = Measure(_ONE + "until a watcher is told, the latest change", "s", 3)

_SOURCES = 50
_SETTLING = 3.0  # seconds until calls count
# The least share of the changes that are due; the last may be made a second later.
_MADE = 0.8


def many_sources(sizes: Sizes) -> Found:
    """Measure a core with many sources."""
    each = sizes.churning // _SOURCES
    options = [synthetic(each, each * 0.01, seed=n, name=f"s{n}") for n in range(_SOURCES)]
    sources = [option for source in options for option in source]
    with _running(sources, each * _SOURCES) as (program, address):
        due = each * _SOURCES * 0.01 * sizes.seconds
        yield from _waits(program, address, sizes.seconds, due, (MANY_WAIT, MANY_CPU))


def one_source(sizes: Sizes) -> Found:
    """Measure a core with one large source, and what a watcher is told."""
    source = Churning("large", sizes.churning, sizes.churning * 0.05)
    options = synthetic(source.sessions, source.churn, name=source.name)
    with (
        _running(options, source.sessions) as (program, address),
        grpc.insecure_channel(address) as channel,
    ):
        watcher = Watcher(channel, source)
        if not watcher.synced.wait(LONG):
            raise BenchError("a watcher gets no snapshot")
        since = time.time()
        due = source.churn * sizes.seconds
        yield from _waits(program, address, sizes.seconds, due, (ONE_WAIT, ONE_CPU))
        until = time.time()
        began = first_observation(channel, source)
        watcher.stop()
        yield ONE_TOLD, watcher.longest(began, since, until)


@contextmanager
def _running(sources: Sequence[str], sessions: int) -> Iterator[tuple[Program, str]]:
    """Run a core until it lists these sessions, and one that stays."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with core(folder, [*steady(folder), *sources], LONG) as (program, address):
            wait_until_whole(address, sessions + 1, LONG)
            yield program, address


def _waits(
    program: Program, core: str, seconds: float, due: float, taken: tuple[Measure, Measure]
) -> Found:
    """Measure the calls of some seconds, in which so many replacements are due."""
    with calling(core, steady_id(core)) as caller:
        time.sleep(_SETTLING)
        began, cpu, revision = time.monotonic(), program.cpu(), _revision(core)
        time.sleep(seconds)
        revision = _revision(core) - revision
        took, cpu = time.monotonic() - began, program.cpu() - cpu
        waits = caller.stop()
    wait = max(each.took for each in waits if each.began + each.took >= began)
    share = 100 * cpu / took
    if (made := revision / 2) < due * _MADE:  # of both, a removal and an upsert
        raise BenchError(
            f"{made:,.0f} of {due:,.0f} replacements were made"
            f" (longest wait {wait:.1f} s, CPU {share:.0f} %)"
        )
    of_wait, of_cpu = taken
    yield of_wait, 1000 * wait
    yield of_cpu, share


def _revision(core: str) -> int:
    with grpc.insecure_channel(core) as channel:
        request = ListSessionsRequest(page_size=1)
        found = SessionServiceStub(channel).ListSessions(request, timeout=LONG)
        return int(found.revision)
