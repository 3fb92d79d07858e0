"""Virtual time: machines whose clocks differ, one of which takes a step at a time."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from random import Random
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

_T = TypeVar("_T")
_RESOLUTION = 1e-6  # seconds
_STEPS = 100  # in which what is cancelled ends


class _NothingToSelect:
    """A selector of an event loop; messages come by calls between loops."""

    def select(self, timeout: float | None) -> list[Any]:
        return []

    def close(self) -> None:
        pass


class Machine(asyncio.BaseEventLoop):
    """A machine: its loop, whose clock runs at a rate of its own."""

    # Of asyncio's own loops: what is to be done now and later, and how a step is taken.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _run_once: Callable[[], None]

    def __init__(self, time: VirtualTime, rate: float = 1.0) -> None:
        super().__init__()
        self._selector = _NothingToSelect()
        self._clock_resolution = _RESOLUTION
        self._virtual, self._rate = time, rate
        self.is_paused = self.is_dead = False
        self.failed: list[BaseException] = []  # errors that nobody has taken
        self.set_exception_handler(self._fail)
        time.machines.append(self)

    def time(self) -> float:
        """Return the machine's clock."""
        return self._virtual.now * self._rate

    @property
    def next_at(self) -> float | None:
        """When it goes on, in true time; None if it has nothing to do."""
        if self._ready:
            return self._virtual.now
        return self._scheduled[0].when() / self._rate if self._scheduled else None

    def step(self) -> None:
        """Do what is due."""
        events._set_running_loop(self)
        try:
            self._run_once()
        finally:
            events._set_running_loop(None)

    def die(self) -> None:
        """Stop at once and for ever."""
        self.is_dead = True
        if self in self._virtual.machines:
            self._virtual.machines.remove(self)

    def end(self) -> None:
        """Die, and drop whatever was going on."""
        self.die()
        for _ in range(_STEPS):
            if not (tasks := asyncio.all_tasks(self)):
                break
            for task in tasks:
                task.cancel()
            self.call_soon(lambda: None)
            self.step()
        self.close()

    def _process_events(self, found: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _fail(self, _loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException) and not self.is_dead:
            self.failed.append(error)


class VirtualTime:
    """The true time, and the machines for which it passes."""

    def __init__(self, chance: Random) -> None:
        self.now = 1000.0
        self.machines: list[Machine] = []
        self._chance = chance

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            due: list[Machine] = []
            first = end
            for machine in self.machines:
                at = None if machine.is_paused else machine.next_at
                if at is None or at > first:
                    continue
                if at < first:
                    first, due = at, []
                due.append(machine)
            self.now = max(self.now, first)
            if not due:
                return
            (due[0] if len(due) == 1 else self._chance.choice(due)).step()


def clock() -> float:
    """Return the clock of the machine that takes a step."""
    loop = events._get_running_loop()
    return 0.0 if loop is None else loop.time()


def here() -> Machine:
    """Return the machine that takes a step."""
    loop = events._get_running_loop()
    assert isinstance(loop, Machine)
    return loop


async def called(work: Callable[[], _T]) -> _T:
    """Return what blocking code returns; while it waits, the machine does other things."""
    blocking = greenlet(work)
    context: Context = copy_context()
    blocking.gr_context = context
    asked = blocking.switch()
    while not blocking.dead:
        try:
            answer = await asked
        except BaseException as error:
            blocking.parent = getcurrent()
            asked = blocking.throw(error)
        else:
            blocking.parent = getcurrent()
            asked = blocking.switch(answer)
    result: _T = asked
    return result


def wait(for_what: Any) -> Any:
    """Wait for an awaitable, from within `called`."""
    current = getcurrent()
    assert current.parent is not None, "only blocking code waits"
    return current.parent.switch(for_what)


def sleep(seconds: float) -> None:
    """Sleep, from within `called`."""
    wait(asyncio.sleep(seconds))
