"""Long work in short slices, so that nothing else on the loop waits for long.

Work is a generator that yields wherever it may pause. The slices of one round of the loop
are short in total. The next slice goes to the caller whose work has taken the least time,
and among its pieces of work first to those without a slice so far, then to the oldest:
a caller waits for the cost of its own calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, MutableMapping
from contextlib import suppress
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple, TypeAlias, TypeVar

# Seconds of work in one round of the loop. A gRPC call takes about four rounds.
SLICE = 0.002
_LET_GO = 500  # objects freed between two rests
_MUCH = 1_000  # objects, which takes a millisecond or two to free

_T = TypeVar("_T")
Steps: TypeAlias = Generator[None, None, _T]
_Container: TypeAlias = list[Any] | set[Any] | MutableMapping[Any, Any]


class TooMuchWorkError(Exception):
    """A caller has reached its limit of work in progress."""


class _Wait(NamedTuple):
    """A piece of work waiting for its next slice."""

    long: bool  # whether it has had a slice
    number: int  # in order of beginning
    granted: asyncio.Future[None]


class _Caller:
    """The work in progress of one caller."""

    __slots__ = ("pieces", "took", "waiting")

    def __init__(self, took: float) -> None:
        self.took = took  # seconds; begins at the least of all callers
        self.pieces = 0  # of work
        self.waiting: list[_Wait] = []  # a heap


class Turns:
    """Gives slices to work; each caller may have ``limit`` pieces in progress."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._limit = limit
        self._clock = clock
        self._callers: dict[str, _Caller] = {}
        self._free = True  # no slice is in use
        self._waiting = 0  # pieces of work
        self._spent = 0.0  # seconds of work in this round of the loop
        self._round_ends = False  # whether `_next_round` is scheduled
        self._number = 0

    async def run(self, whose: str, steps: Steps[_T]) -> _T:
        """Run the work and return its result. Raises `TooMuchWorkError`.

        If this is cancelled, the work ends where it has paused.
        """
        caller = self._callers.get(whose)
        if caller is None:
            least = min((other.took for other in self._callers.values()), default=0.0)
            caller = self._callers[whose] = _Caller(least)
        if caller.pieces >= self._limit:
            steps.close()
            raise TooMuchWorkError
        caller.pieces += 1
        self._number += 1
        number, long = self._number, False
        try:
            while True:
                await self._take(caller, number, long=long)
                began, room = self._clock(), SLICE - self._spent
                try:
                    while self._clock() - began < room:
                        next(steps)
                except StopIteration as done:
                    result: _T = done.value
                    return result
                finally:
                    self._give(caller, self._clock() - began)
                long = True
        finally:
            steps.close()
            caller.pieces -= 1
            if not caller.pieces:
                del self._callers[whose]

    async def each(self, whose: str, pieces: Iterator[_T | None]) -> AsyncGenerator[_T]:
        """Yield an iterator's items in order; when it returns None, it may pause."""
        while (found := await self.run(whose, _until_found(pieces))) is not None:
            yield found

    async def _take(self, caller: _Caller, number: int, *, long: bool) -> None:
        """Wait for a slice."""
        if self._free and not self._waiting and self._spent < SLICE:
            self._free = False
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wait = _Wait(long, number, granted)
        heappush(caller.waiting, wait)
        self._waiting += 1
        self._end_round()
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # the slice was granted meanwhile
                self._give(caller, 0.0)
            else:
                with suppress(ValueError):
                    caller.waiting.remove(wait)
                    heapify(caller.waiting)
                    self._waiting -= 1
            raise

    def _give(self, caller: _Caller, spent: float) -> None:
        """Return a slice."""
        self._free = True
        self._spent += spent
        caller.took += spent
        if self._spent < SLICE:
            self._grant()
        self._end_round()

    def _end_round(self) -> None:
        if not self._round_ends:
            self._round_ends = True
            asyncio.get_running_loop().call_soon(self._next_round)

    def _next_round(self) -> None:
        self._round_ends = False
        self._spent = 0.0
        self._grant()

    def _grant(self) -> None:
        """Grant a slice to the next piece of work."""
        while self._free and self._waiting:
            waiting = (caller for caller in self._callers.values() if caller.waiting)
            granted = heappop(min(waiting, key=_took).waiting).granted
            self._waiting -= 1
            if not granted.done():  # else it was cancelled
                self._free = False
                granted.set_result(None)


def finished(steps: Steps[_T]) -> _T:
    """Run work without a pause, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: _T = done.value
            return result


def let_go(*containers: _Container) -> Steps[None]:
    """Empty large containers, resting between steps: freeing 100,000 tuples takes 20 ms."""
    for found in containers:
        pop = found.pop if isinstance(found, list | set) else found.popitem
        while found:
            for _ in range(min(_LET_GO, len(found))):
                pop()
            yield


def let_go_soon(*containers: _Container) -> None:
    """Do what `let_go` does, while nobody waits for it, if there is much to free."""
    if sum(map(len, containers)) > _MUCH:
        later(let_go(*containers))


def later(steps: Steps[None]) -> None:
    """Do work that nobody waits for, one step in each round of the event loop."""
    try:
        next(steps)
    except StopIteration:
        return
    asyncio.get_running_loop().call_soon(later, steps)


def _took(caller: _Caller) -> float:
    return caller.took


def _until_found(pieces: Iterator[_T | None]) -> Steps[_T | None]:
    for piece in pieces:
        if piece is not None:
            return piece
        yield
    return None
