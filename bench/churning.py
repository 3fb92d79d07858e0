"""A core under churn: how long its callers wait, what it costs, and when watchers get changes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import grpc

from bench.caller import calling
from bench.measures import LONG, Found, Measure, Sizes
from bench.programs import BenchError, Program
from bench.stack import core, first_page, steady, steady_id, synthetic, until
from bench.turns import longest_turn
from bench.watcher import Churning, Watcher, first_observation
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, ListSessionsResponse
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub


class _Taken(NamedTuple):
    """Figures measured while callers wait."""

    wait: Measure
    cpu: Measure
    turn: Measure


def _taken(load: str, wait: float, cpu: float | None) -> _Taken:
    return _Taken(
        Measure(f"{load}: longest wait of a GetSession, ten a second", "ms", wait),
        Measure(f"{load}: CPU of the core", "%", cpu),
        Measure(f"{load}: longest turn of the core's loop, or two in a row, CPU", "ms"),
    )


_ONE = "{churning:,} sessions of one source, 5 % replaced each second"
MANY = _taken("{churning:,} sessions of 50 sources, 1 % replaced each second", 100, 60)
ONE = _taken(_ONE, 250, None)
_TOLD_WITHIN = 3
TOLD = Measure(f"{_ONE}: until a watcher is told, the latest change", "s", _TOLD_WITHIN)

_SOURCES = 50
_STARTING = 300.0  # seconds until a core lists its sessions, also on a machine that is busy
_MOST = 0.99  # the share of them that it lists from then on: the rest is being replaced
_CATCHING_UP = 60.0  # seconds that a core may take to tell what became due while it started
_SETTLING = 3.0  # seconds until calls count
_MADE = 0.5  # the least share of the changes that are due; the last ones may come later
# Percent of a CPU, from which on a core makes as many changes as it can: it leaves the loop to
# callers for as long as it has used it.
_BUSY = 50


def many_sources(sizes: Sizes) -> Found:
    """Measure a core with many sources."""
    each = sizes.churning // _SOURCES
    options = [synthetic(each, each * 0.01, seed=n, name=f"s{n}") for n in range(_SOURCES)]
    sources = [option for source in options for option in source]
    with _running(sources, each * _SOURCES) as (program, address):
        churn = each * _SOURCES * 0.01
        yield from _waits(program, address, churn, sizes.seconds, MANY)


def one_source(sizes: Sizes) -> Found:
    """Measure a core with one large source, and when a watcher gets changes."""
    source = Churning("large", sizes.churning, sizes.churning * 0.05)
    options = synthetic(source.sessions, source.churn, name=source.name)
    with (
        _running(options, source.sessions) as (program, address),
        grpc.insecure_channel(address) as channel,
    ):
        watcher = Watcher(channel, source)
        if not watcher.synced.wait(LONG):
            raise BenchError("a watcher gets no snapshot")
        began = first_observation(channel, source)
        _settle(watcher, began)
        since = time.time()
        yield from _waits(program, address, source.churn, sizes.seconds, ONE)
        until = time.time()
        watcher.stop()
        yield TOLD, watcher.longest(began, since, until)


def _settle(watcher: Watcher, began: float) -> None:
    """Wait until the watcher has what became due while the core started, but not for ever."""
    end = time.monotonic() + _CATCHING_UP
    while watcher.untold(began) > _TOLD_WITHIN and time.monotonic() < end:
        time.sleep(0.1)


@contextmanager
def _running(sources: Sequence[str], sessions: int) -> Iterator[tuple[Program, str]]:
    """Run a core until it lists these sessions, and has caught up with its sources if it can."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        options = [*steady(folder), *sources, "--core-metrics", "127.0.0.1:0"]
        with core(folder, options, LONG) as (program, address):
            _wait_until_read(address, sessions)
            yield program, address


def _wait_until_read(core: str, sessions: int) -> None:
    """Wait until most sessions are listed, then until all sources are current, but not for ever.

    Meanwhile sessions have been replaced, of which some come and go at any time. A core that does
    not keep up has sources that are not current all the time: that is measured, too.
    """
    with grpc.insecure_channel(core) as channel:
        stub = SessionServiceStub(channel)

        def listed() -> ListSessionsResponse:
            return first_page(stub) or ListSessionsResponse(unreachable=[""])

        most = sessions * _MOST
        until(lambda: listed().total_size >= most, f"the core does not list {most:,.0f}", _STARTING)
        with suppress(BenchError):
            until(lambda: not listed().unreachable, "sources are not current", _CATCHING_UP)


def _waits(program: Program, core: str, churn: float, seconds: float, taken: _Taken) -> Found:
    """Measure a core, in which ``churn`` sessions a second are due to be replaced."""
    with calling(core, steady_id(core)) as caller:
        time.sleep(_SETTLING)
        began, cpu, revision = time.monotonic(), program.cpu(), _revision(core)
        time.sleep(seconds)
        revision = _revision(core) - revision
        took, cpu = time.monotonic() - began, program.cpu() - cpu
        waits = caller.stop()
    wait = max(each.took for each in waits if each.began + each.took >= began)
    share = 100 * cpu / took
    made, due = revision / 2, churn * took  # a removal and an upsert each
    if made < due * _MADE and share < _BUSY:
        raise BenchError(
            f"{made:,.0f} of {due:,.0f} replacements were made"
            f" (longest wait {wait:.1f} s, CPU {share:.0f} %)"
        )
    yield taken.wait, 1000 * wait
    yield taken.cpu, share
    yield taken.turn, 1000 * longest_turn(program)


def _revision(core: str) -> int:
    with grpc.insecure_channel(core) as channel:
        request = ListSessionsRequest(page_size=1)
        found = SessionServiceStub(channel).ListSessions(request, timeout=LONG)
        return int(found.revision)
