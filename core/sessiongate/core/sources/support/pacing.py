"""Long work in short steps on the event loop, which serves other tasks in between."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from heapq import merge
from itertools import count, islice
from operator import le
from time import perf_counter
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from sessiongate.core.sources.support.elements import ElementBatch, Elements, More
from sessiongate.runtime.memory import untracked

STEP = 0.004  # seconds
_PART = 100  # items that are processed in one go
_USED = 0.0001  # seconds of a round of the loop in which other tasks had something to do

_T = TypeVar("_T")
_R = TypeVar("_R")
_Queue: TypeAlias = deque[asyncio.Future[None]]
_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()
_granted: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()


class Pace:
    """Limits how long work runs on the event loop before other tasks get it."""

    def __init__(self) -> None:
        self._began = perf_counter()

    @property
    def is_due(self) -> bool:
        """Whether the step has taken long enough."""
        return perf_counter() - self._began > STEP

    def sleep(self) -> None:
        """Pause in a thread, as `pause` does on the loop: a thread delays the loop just as much."""
        if self.is_due:
            time.sleep(STEP)
            self._began = perf_counter()

    async def rest(self) -> None:
        """Wait for the next step; the loop runs one step at a time."""
        loop = asyncio.get_running_loop()
        queue = _queues.setdefault(loop, deque())
        turn = loop.create_future()
        queue.append(turn)
        if len(queue) == 1:
            loop.call_soon(_give, loop, queue)
        await turn
        self._began = perf_counter()

    async def pause(self) -> None:
        """Rest if the step has taken long enough."""
        if self.is_due:
            await self.rest()


def _give(loop: asyncio.AbstractEventLoop, queue: _Queue) -> None:
    """Give the next waiter in the queue its turn."""
    while queue:
        turn = queue.popleft()
        if not turn.done():  # it was cancelled meanwhile
            turn.set_result(None)
            break
    if queue:
        loop.call_soon(_look, loop, queue, perf_counter())


def _look(loop: asyncio.AbstractEventLoop, queue: _Queue, began: float) -> None:
    """Look for what other tasks have to do after a turn, if it took longer than a step."""
    now = perf_counter()
    if (took := now - began) > STEP:
        loop.call_soon(_leave, loop, queue, now, took)
    else:
        _give(loop, queue)


def _leave(loop: asyncio.AbstractEventLoop, queue: _Queue, since: float, took: float) -> None:
    """Leave the loop to other tasks for as long as the turn took, if they use it.

    A call takes several rounds of the loop, and does not wait for a turn at each.
    """
    if perf_counter() - since > _USED:
        loop.call_later(took, _give, loop, queue)
    else:
        _give(loop, queue)


def granted(wanted: int, most: int) -> int:
    """Return how many changes may be made now, if in a turn of the loop all make ``most``."""
    loop = asyncio.get_running_loop()
    if loop not in _granted:
        _granted[loop] = 0
        loop.call_soon(_granted.pop, loop)
    found = max(0, min(wanted, most - _granted[loop]))
    _granted[loop] += found
    return found


async def parts(items: Iterable[_T], pace: Pace) -> AsyncIterator[list[_T]]:
    """Yield the items in short lists, with pauses between them."""
    following = iter(items)
    while part := [*islice(following, _PART)]:
        yield part
        await pace.pause()


async def mapped(
    function: Callable[[_T], _R], items: Iterable[_T], pace: Pace | None = None
) -> list[_R]:
    """Return the function's result for each item."""
    found: list[_R] = untracked([])  # it grows to as many as there are sessions
    async for part in parts(items, pace or Pace()):
        found += map(function, part)
    return found


async def kept(
    holds: Callable[[_T], bool], items: Iterable[_T], pace: Pace | None = None
) -> list[_T]:
    """Return the items for which ``holds`` is true."""
    found: list[_T] = untracked([])
    async for part in parts(items, pace or Pace()):
        found += filter(holds, part)
    return found


async def in_order(items: Iterable[_T], key: Callable[[_T], Any], pace: Pace) -> list[_T]:
    """Return the items sorted by ``key``; items with equal keys keep their order."""
    found: list[_T] = []
    keys: list[Any] = []
    is_sorted = True
    async for part in parts(items, pace):
        last = len(keys)
        keys += map(key, part)
        following = keys[max(0, last - 1) :]
        is_sorted = is_sorted and all(map(le, following, following[1:]))
        found += part
    if is_sorted:  # as usual: servers number what they list
        return found
    numbered = zip(keys, count(), found, strict=False)
    sorted_parts: list[list[tuple[Any, int, _T]]] = []
    while each := sorted(islice(numbered, 10 * _PART)):
        sorted_parts.append(each)
        await pace.pause()
    return await mapped(lambda entry: entry[-1], merge(*sorted_parts), pace)


async def ahead(
    items: Iterable[_T], work: Callable[[_T], Coroutine[Any, Any, _R]]
) -> AsyncGenerator[tuple[_T, _R]]:
    """Yield each item with the result of ``work`` on it, which goes on with the next one meanwhile.

    Close this if it is not read to its end.
    """
    following = iter(items)
    item, task = next(following, None), None
    try:
        while item is not None:
            task = task or asyncio.create_task(work(item))
            ready, item, task = (item, await task), next(following, None), None
            if item is not None:
                task = asyncio.create_task(work(item))
            yield ready
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def sorted_apart(items: Iterable[_T], key: Callable[[_T], Any], pace: Pace) -> Iterator[_T]:
    """Yield the items sorted as by `in_order`; for use in a thread."""
    numbered = ((key(item), number, item) for number, item in enumerate(items))
    parts: list[list[tuple[Any, int, _T]]] = []
    while part := sorted(islice(numbered, 10 * _PART)):
        parts.append(part)
        pace.sleep()
    for _, _, item in merge(*parts):
        pace.sleep()
        yield item


def parts_apart(items: Iterable[_T], pace: Pace) -> Iterator[list[_T]]:
    """Yield the items in short lists, with pauses between them; for use in a thread."""
    following = iter(items)
    while part := [*islice(following, _PART)]:
        yield part
        pace.sleep()


async def batches(
    elements: Elements, parts: AsyncIterable[bytes], pace: Pace
) -> AsyncIterator[ElementBatch]:
    """Yield the elements of a document that is still arriving.

    Raises what `Elements.read` raises.
    """
    arriving = aiter(parts)
    for step in elements.read():
        if isinstance(step, ElementBatch):
            yield step
        elif isinstance(step, More):
            elements.feed(await anext(arriving, b""))
            await pace.rest()
        await pace.pause()
