"""Turns: a source is acted on by one act at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sessiongate.core.errors import SourceUnreachableError
from sessiongate.runtime.elapsed import elapsed


class OneByOne:
    """Lets one act at a time reach each source."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def turn(self, source: str, by: float) -> AsyncIterator[None]:
        """Wait until no other act is under way, ``by`` a time at most, on `elapsed`.

        Raises `SourceUnreachableError` if others take longer.
        """
        lock = self._locks.setdefault(source, asyncio.Lock())
        try:
            async with asyncio.timeout(by - elapsed()):
                await lock.acquire()
        except TimeoutError:
            text = f"other actions on the source {source!r} take long, and nothing was done"
            raise SourceUnreachableError(text, source=source) from None
        try:
            yield
        finally:
            lock.release()
