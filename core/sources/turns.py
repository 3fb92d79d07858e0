"""Long work on the event loop in short steps, of which one is done between two looks at it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from time import perf_counter
from typing import TypeAlias
from weakref import WeakKeyDictionary

from core.sources.elements import Batch, Elements, More

STEP = 0.004  # seconds

_Queue: TypeAlias = deque[asyncio.Future[None]]
_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()


class Pace:
    """Tells one who works on the event loop when to let others have it."""

    def __init__(self) -> None:
        self._began = perf_counter()

    @property
    def is_due(self) -> bool:
        """Whether the step has taken long enough."""
        return perf_counter() - self._began > STEP

    def sleep(self) -> None:
        """The same in a thread, which holds up the loop as much as if it ran there."""
        if self.is_due:
            time.sleep(STEP)
            self._began = perf_counter()

    async def rest(self) -> None:
        """Go on in a step of one's own, of which the loop makes one at a time."""
        loop = asyncio.get_running_loop()
        queue = _queues.setdefault(loop, deque())
        turn = loop.create_future()
        queue.append(turn)
        if len(queue) == 1:
            loop.call_soon(_give, loop, queue)
        await turn
        self._began = perf_counter()


def _give(loop: asyncio.AbstractEventLoop, queue: _Queue) -> None:
    """Let the next one in the queue have its turn."""
    while queue:
        turn = queue.popleft()
        if not turn.done():  # it was cancelled meanwhile
            turn.set_result(None)
            break
    if queue:
        loop.call_soon(_give, loop, queue)


async def batches(
    elements: Elements, parts: AsyncIterable[bytes], pace: Pace
) -> AsyncIterator[Batch]:
    """The elements of a document of which the parts arrive.

    Raises what `Elements.read` does.
    """
    arriving = aiter(parts)
    for step in elements.read():
        if isinstance(step, Batch):
            yield step
        elif isinstance(step, More):
            elements.feed(await anext(arriving, b""))
            await pace.rest()
        if pace.is_due:
            await pace.rest()
