"""The work on requests: long work is done by turns of those who ask, others meanwhile."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator
from contextvars import ContextVar
from typing import NamedTuple

from runtime.identity import caller
from runtime.turns import Steps, T, Turns, finished

# Rows that are looked at between two rests: less than a millisecond of work, and where each is
# made into a resource object, or a JSONPath asked of it.
LIGHT_ROWS, HEAVY_ROWS = 100, 5


def new_turns() -> Turns:
    """Turns of one worker, in which `gateway.admission` alone bounds how much there is to do."""
    return Turns(sys.maxsize)


class Asker(NamedTuple):
    """Who a request is from, and whose turns its work has."""

    turns: Turns
    address: str


# Of the request that is being answered here.
asker: ContextVar[Asker | None] = ContextVar("asker", default=None)


async def work(steps: Steps[T]) -> T:
    """What work comes to, in turn with others' work; at once where no request is answered."""
    found = asker.get()
    if found is None:
        return finished(steps)
    return await found.turns.run(_whose(found), steps)


async def each(pieces: Iterator[T | None]) -> AsyncGenerator[T]:
    """What an iterator gives, as in `Turns.each`."""
    found = asker.get()
    if found is None:
        for piece in pieces:
            if piece is not None:
                yield piece
        return
    async for given in found.turns.each(_whose(found), pieces):
        yield given


def _whose(found: Asker) -> str:
    identity = caller.get()
    return identity.encode() if identity else found.address
