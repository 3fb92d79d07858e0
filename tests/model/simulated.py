"""Puts what is simulated in place of what cores use else: threads, clocks, servers, the past."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from sessiongate.core import shard_core
from sessiongate.core.fleet import member, membership
from sessiongate.core.fleet.directory import ActiveCore
from sessiongate.core.ledger import calls
from sessiongate.core.ledger.base import HistorySize
from sessiongate.core.ledger.postgresql import (
    connection,
    ids,
    ledger,
    locks,
    pen,
    schema,
    starts,
    store,
)
from sessiongate.core.settings import CoreConfig
from sessiongate.runtime import background
from sessiongate.runtime.telemetry.latency import Durations
from tests.model.connection import ModelConnection
from tests.model.program import Life, Observing
from tests.model.virtual import block, clock, here, sleep

_T = TypeVar("_T")


class _Standby:
    """Answers for a core that stands by; nobody asks it."""

    def __init__(self, config: CoreConfig, metrics: object) -> None:
        self.is_open = False
        self.active: ActiveCore | None = None

    async def open(self) -> str:
        self.is_open = True
        return "core:1"

    async def __aenter__(self) -> _Standby:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass


class _Calls:
    """The thread of a ledger: one call after the other."""

    def __init__(self) -> None:
        self.durations, self.failures, self.busy_for = Durations(), 0, 0.0
        self._waiting: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._is_busy = self._is_closed = False

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return what a call returns, once those before it have ended."""
        machine = here()
        if machine.is_dead:
            raise asyncio.CancelledError
        if self._is_closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        answer: asyncio.Future[_T] = machine.create_future()
        self._waiting.append((work, answer))
        if not self._is_busy:
            block(self._work)
        return await answer  # if the caller is cancelled, a call that has begun goes on

    def _work(self) -> None:
        self._is_busy = True
        while self._waiting:
            work, answer = self._waiting.popleft()
            if self._is_closed:
                answer.cancel()
            if answer.cancelled():
                continue
            try:
                found = work()
            except asyncio.CancelledError:  # the machine has ended
                answer.cancel()
            except Exception as error:
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # nobody need ask for it
            else:
                if not answer.done():
                    answer.set_result(found)
        self._is_busy = False

    def close(self) -> None:
        """Take no more calls."""
        self._is_closed = True

    abandon = close


class _Upkeep:
    """Keeps nothing up: there is a partition for every end."""

    def __init__(self, *_: object) -> None:
        self.size, self.last_end = HistorySize(0, 0, None), 1 << 62
        self.oldest_xmin, self.waits_for = 0, 0.0

    def make(self, now: int) -> None:
        pass

    def cut(self) -> None:
        pass

    close = cut


class _Past:
    def __init__(self, *_: object) -> None:
        pass

    async def close(self) -> None:
        pass


def _now() -> int:
    life = here()
    assert isinstance(life, Life)
    return life.program.now()


def _unforeseen(*_: object) -> None:
    """Let the schedule fail by an error after which a core goes on, but which nobody foresaw."""
    error = sys.exc_info()[1]
    assert error is not None
    here().failed.append(error)


@contextmanager
def simulated(chance: random.Random, look_every: float) -> Iterator[None]:
    """Let cores use the simulated server and virtual clocks until the block ends.

    They look at the fleet every ``look_every`` seconds, and show then that they run, but not more
    often than usual.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (pen, locks, connection, store, membership, member, calls):
            patch.setattr(module, "elapsed", clock)
        for module in (pen, member):
            patch.setattr(module, "LedgerConnection", ModelConnection)
        for module in (ledger, membership):
            patch.setattr(module, "LedgerCalls", _Calls)
        for module in (pen, locks):
            patch.setattr(module, "time", SimpleNamespace(sleep=sleep))
        wall = SimpleNamespace(time=lambda: _now() / 1e9, time_ns=_now)
        for module in (shard_core, membership, starts):
            patch.setattr(module, "time", wall)
        for module in (background, membership):
            patch.setattr(module.log, "exception", _unforeseen)
        patch.setattr(store, "advise", lambda connection: None)
        patch.setattr(ledger, "Upkeep", _Upkeep)
        patch.setattr(ledger, "PostgresqlPast", _Past)
        patch.setattr(membership, "LOOK_EVERY", look_every)
        patch.setattr(membership, "BEAT_EVERY", max(look_every, membership.BEAT_EVERY))
        patch.setattr(ids, "_TIMES", 1)  # so that ids are reserved often
        patch.setattr(ids, "_LEAST_IDS", 2)
        patch.setattr(shard_core, "Core", Observing)
        patch.setattr(shard_core, "StandbyServer", _Standby)
        patch.setattr(shard_core, "SessionTable", lambda *_: ())  # it would stay empty
        patch.setattr(member, "version", lambda name: "")
        drawn = SimpleNamespace(randbelow=chance.randrange, randbits=chance.getrandbits)
        for module in (schema, starts):
            patch.setattr(module, "secrets", drawn)
        patch.setattr(starts, "SPREAD", 1 << 40)  # so that none is drawn twice
        patch.setattr(schema, "_FIRST_INSTANCES", 1 << 40)
        yield
