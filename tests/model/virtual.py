"""Virtual time: machines whose clocks differ, one of which takes a step at a time."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, TypeVarTuple

from greenlet import getcurrent, greenlet

_Ts = TypeVarTuple("_Ts")
_RESOLUTION = 1e-6  # seconds
_NEVER = float("inf")
_STEPS = 100  # in which what is cancelled ends


class _Call(asyncio.TimerHandle):
    """Something that a machine is to do; what is not asyncio's own runs without a context."""

    __slots__ = ()

    def __init__(
        self, work: Callable[..., object], arguments: tuple[Any, ...], context: Context | None
    ) -> None:
        self._callback, self._args, self._context = work, arguments, context
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True


_stepping: Machine | None = None


class Machine(asyncio.BaseEventLoop):
    """A machine: its loop, whose clock runs at a rate of its own.

    What asyncio's own loops do to wait and to call is done in a third of the time.
    """

    _ready: deque[_Call]  # of asyncio's own loop

    def __init__(self, time: VirtualTime, rate: float = 1.0) -> None:
        super().__init__()
        self.virtual, self._rate = time, rate
        self.at = _NEVER  # when it goes on, in true time
        self._timers: list[tuple[float, int, _Call]] = []  # by its own clock
        self._numbers = count()
        self._is_paused = self.is_dead = False
        self.failed: list[BaseException] = []  # errors that nobody has taken
        self.working: set[Work] = set()
        self.blocked: set[greenlet] = set()
        self.set_exception_handler(self._fail)
        time.machines.append(self)

    @property
    def is_paused(self) -> bool:
        """Whether it does nothing, while time passes."""
        return self._is_paused

    @is_paused.setter
    def is_paused(self, is_paused: bool) -> None:
        self._is_paused = is_paused
        self._set_at()

    def time(self) -> float:
        """Return the machine's clock."""
        return self.virtual.now * self._rate

    def step(self) -> None:
        """Do what is due, and what follows from that at once."""
        global _stepping
        _stepping = self
        events._set_running_loop(self)
        ready, timers = self._ready, self._timers
        now = self.virtual.now * self._rate + _RESOLUTION
        while timers and timers[0][0] < now:
            ready.append(heappop(timers)[2])
        while ready and not self._is_paused:
            call = ready.popleft()
            if call._cancelled:
                continue
            try:
                if call._context is None:
                    call._callback(*call._args)
                else:
                    call._context.run(call._callback, *call._args)
            except Exception as error:
                self._fail(self, {"exception": error})
            if self.is_dead:
                break
        self._set_at()

    def _set_at(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heappop(timers)
        if self._is_paused:
            self.at = _NEVER
        elif self._ready:
            self.at = self.virtual.now
        else:
            self.at = timers[0][0] / self._rate if timers else _NEVER

    def may_skip_to(self, time: float) -> bool:
        """Return whether nothing happens anywhere until after a time, but what it does now."""
        virtual, timers = self.virtual, self._timers
        if self._ready or self._is_paused or time > virtual.end:
            return False
        if timers and timers[0][0] / self._rate <= time:
            return False
        for each in virtual.machines:  # noqa: SIM110 - half of the time of all(…)
            if each.at <= time and each is not self:
                return False
        return True

    def die(self) -> None:
        """Stop at once and for ever."""
        self.is_dead = True
        if self in self.virtual.machines:
            self.virtual.machines.remove(self)

    def end(self) -> None:
        """Die, and drop whatever was going on."""
        self.die()
        self._is_paused = False
        for _ in range(_STEPS):
            going_on = asyncio.all_tasks(self) | self.working
            if not going_on and not self.blocked:
                break
            for each in going_on:
                each.cancel()
            while self.blocked:
                blocking = self.blocked.pop()
                blocking.parent = getcurrent()
                blocking.throw(asyncio.CancelledError)
            for _ in range(len(self._ready)):
                self.step()
        _leave()
        self._timers.clear()
        self.close()

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> _Call:
        """Do something next."""
        call = _Call(callback, args, context)
        self._ready.append(call)
        if not self._is_paused and self.at > (now := self.virtual.now):
            self.at = now
        return call

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> _Call:
        """Do something at a time of the machine's clock."""
        call = _Call(callback, args, context)
        heappush(self._timers, (when, next(self._numbers), call))
        if not self._is_paused and self.at > (at := when / self._rate):
            self.at = at
        return call

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> _Call:
        """Do something a little later."""
        when = self.virtual.now * self._rate + delay
        return self.call_at(when, callback, *args, context=context)

    def _fail(self, _loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException) and not self.is_dead:
            self.failed.append(error)


class VirtualTime:
    """The true time, and the machines for which it passes."""

    def __init__(self, chance: Random) -> None:
        self.now = self.end = 1000.0
        self.machines: list[Machine] = []
        self._chance = chance

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.end = self.now + seconds
        machines = self.machines
        while True:
            times = [machine.at for machine in machines]
            first = min(times, default=_NEVER)
            if first > end:
                break
            if first > self.now:
                self.now = first
            if times.count(first) == 1:
                machines[times.index(first)].step()
            else:
                self._chance.choice([each for each in machines if each.at == first]).step()
        self.now = end
        _leave()


def _leave() -> None:
    global _stepping
    _stepping = None
    events._set_running_loop(None)


def clock() -> float:
    """Return the clock of the machine that takes a step."""
    return 0.0 if _stepping is None else _stepping.time()


def here() -> Machine:
    """Return the machine that takes a step."""
    assert _stepping is not None
    return _stepping


class Work:
    """The rest of a coroutine that has begun, and waits for something."""

    def __init__(
        self, machine: Machine, steps: Coroutine[Any, Any, None], awaited: asyncio.Future[Any]
    ) -> None:
        self._machine, self._steps, self._awaited = machine, steps, awaited
        self._is_cancelled = False
        machine.working.add(self)
        self._wait()

    def cancel(self) -> None:
        """Let what it waits for raise `CancelledError`."""
        if not self._awaited.cancel():
            self._is_cancelled = True

    def _go_on(self, _awaited: object = None) -> None:
        is_cancelled, self._is_cancelled = self._is_cancelled, False
        try:
            if is_cancelled:
                self._awaited = self._steps.throw(asyncio.CancelledError())
            else:
                self._awaited = self._steps.send(None)
        except (StopIteration, asyncio.CancelledError):
            self._machine.working.discard(self)
        else:
            self._wait()

    def _wait(self) -> None:
        self._awaited._asyncio_future_blocking = False  # what a task does, too
        self._awaited.add_done_callback(self._go_on)


def block(work: Callable[[], object]) -> None:
    """Run blocking code; this returns as soon as it waits for something, or has ended."""
    greenlet(work).switch()


def wait() -> Any:
    """Wait, from within `block`, until `resume` is called; return what that is given."""
    blocking, blocked = getcurrent(), here().blocked
    assert blocking.parent is not None, "only blocking code waits"
    blocked.add(blocking)
    answer = blocking.parent.switch()
    blocked.discard(blocking)
    return answer


def resume(blocking: greenlet, answer: object = None) -> None:
    """Let blocking code go on, from what a machine does next."""
    blocking.parent = getcurrent()
    blocking.switch(answer)


def sleep(seconds: float) -> None:
    """Sleep, from within `block`."""
    here().call_later(seconds, resume, getcurrent())
    wait()
