"""Shutdown of the program, which also ends responses that would never end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Shutdown:
    """Holds whether the program is stopping, and wakes waiters when it begins to stop."""

    def __init__(self) -> None:
        self.begun = False
        # The grace period of each waiter once shutdown has begun, in seconds.
        self._waiting: dict[asyncio.Timeout, float] = {}

    def begin(self) -> None:
        """Wake all waiters; call this in the event loop."""
        self.begun = True
        now = asyncio.get_running_loop().time()
        for alarm, grace in self._waiting.items():
            if not alarm.expired():
                alarm.reschedule(min(alarm.when() or now, now + grace))

    @asynccontextmanager
    async def timeout(
        self, seconds: float | None, *, grace: float = 0.0
    ) -> AsyncIterator[asyncio.Timeout]:
        """Act as `asyncio.timeout`, but allow only ``grace`` seconds once the program stops."""
        if self.begun:
            seconds = grace if seconds is None else min(seconds, grace)
        async with asyncio.timeout(seconds) as alarm:
            self._waiting[alarm] = grace
            try:
                yield alarm
            finally:
                del self._waiting[alarm]

    async def sleep(self, seconds: float) -> None:
        """Sleep, but only until the program stops."""
        with suppress(TimeoutError):
            async with self.timeout(seconds):
                await asyncio.Event().wait()
