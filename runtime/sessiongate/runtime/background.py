"""Tasks that go on in the background, also after an error that nobody foresaw."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

_AGAIN = 5.0  # seconds until work that has failed begins again


def in_background(work: Callable[[], Awaitable[None]], what: str) -> asyncio.Task[None]:
    """Return a task that does some work, which ``what`` names, until it ends or is cancelled.

    After an unexpected error, which is logged, the work begins again. Of a task that is kept,
    asyncio does not tell that it failed, so nobody would notice that it is missing.
    """
    return asyncio.create_task(_go_on(work, what))


async def _go_on(work: Callable[[], Awaitable[None]], what: str) -> None:
    while True:
        try:
            return await work()
        except Exception:
            log.exception("%s failed; beginning again", what)
        await asyncio.sleep(_AGAIN)
