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
class WorkContext:
    """The turns in which a request's work is done, and the client that it is done for."""

    turns: Turns
    address: str
    has_asked_core: bool = False  # whether the core was called for this request


# Of the request that is handled in this context.
work_context: ContextVar[WorkContext | None] = ContextVar("work_context", default=None)


async def work(steps: Steps[_T]) -> _T:
    """Return the result of work done in turns; outside a request, without turns."""
    found = work_context.get()
    if found is None:
        return finished(steps)
    return await found.turns.run(_whose(found), steps)


async def each(pieces: Iterator[_T | None]) -> AsyncGenerator[_T]:
    """Yield the items of an iterator, as `Turns.each` does."""
    found = work_context.get()
    if found is None:
        for piece in pieces:
            if piece is not None:
                yield piece
        return
    async for given in found.turns.each(_whose(found), pieces):
        yield given


def _whose(found: WorkContext) -> str:
    identity = caller.get()
    return identity.encode() if identity else found.address
