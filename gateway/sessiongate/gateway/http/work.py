"""Work on requests: callers take turns with long work, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

from sessiongate.runtime.auth.identity import caller
from sessiongate.runtime.turns import _T, Steps, Turns, finished

# Rows looked at between two rests: less than a millisecond of work. If each is made into a
# resource object, or queried by a JSONPath, there is a rest after each.
LIGHT_ROWS = 100
# Objects freed between two rests, likewise.
_LET_GO = 500


def new_turns() -> Turns:
    """Return the turns of one worker; only `gateway.http.admission` bounds how much they do."""
    return Turns(sys.maxsize)


class Asker(NamedTuple):
    """Who a request is from, and the turns that its work takes."""

    turns: Turns
    address: str


# The asker of the request being answered in this context.
asker: ContextVar[Asker | None] = ContextVar("asker", default=None)


async def work(steps: Steps[_T]) -> _T:
    """Return what work comes to, in turn with others; at once if no request is answered."""
    found = asker.get()
    if found is None:
        return finished(steps)
    return await found.turns.run(_whose(found), steps)


async def each(pieces: Iterator[_T | None]) -> AsyncGenerator[_T]:
    """Yield what an iterator gives, as `Turns.each` does."""
    found = asker.get()
    if found is None:
        for piece in pieces:
            if piece is not None:
                yield piece
        return
    async for given in found.turns.each(_whose(found), pieces):
        yield given


def let_go(*lists: list[Any]) -> Steps[None]:
    """Empty long lists, resting between steps: freeing 100,000 tuples takes 20 ms."""
    for found in lists:
        while found:
            del found[-_LET_GO:]
            yield


def later(steps: Steps[None]) -> None:
    """Do work that nobody waits for, a step in each round of the loop."""
    try:
        next(steps)
    except StopIteration:
        return
    asyncio.get_running_loop().call_soon(later, steps)


def _whose(found: Asker) -> str:
    identity = caller.get()
    return identity.encode() if identity else found.address
