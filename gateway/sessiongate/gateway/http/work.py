"""Work on requests: callers take turns with long work, so that short requests do not wait."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from sessiongate.runtime.auth.identity import caller
from sessiongate.runtime.turns import _T, Steps, Turns, finished

# Rows handled between two rests: less than a millisecond of work. If each row is made into a
# resource object, or queried with a JSONPath, there is a rest after each.
LIGHT_ROWS = 100


def new_turns() -> Turns:
    """Return the turns of one worker; `gateway.http.admission` alone bounds their work."""
    return Turns(sys.maxsize)


@dataclass(slots=True)
class Asker:
    """The client of a request, and the turns in which its work is done."""

    turns: Turns
    address: str
    has_asked_core: bool = False  # whether the core was called for this request


# The asker of the request that is handled in this context.
asker: ContextVar[Asker | None] = ContextVar("asker", default=None)


async def work(steps: Steps[_T]) -> _T:
    """Return the result of work done in turns; outside a request, without turns."""
    found = asker.get()
    if found is None:
        return finished(steps)
    return await found.turns.run(_whose(found), steps)


async def each(pieces: Iterator[_T | None]) -> AsyncGenerator[_T]:
    """Yield the items of an iterator, as `Turns.each` does."""
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
