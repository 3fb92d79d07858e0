"""The one thread on which a ledger writes, call after call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.telemetry.latency import Durations

_T = TypeVar("_T")


class LedgerCalls:
    """Runs calls in the order in which they are made."""

    def __init__(self) -> None:
        self.durations = Durations()  # with the time that calls waited for those before them
        self.failures = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        # Calls, and when one last ended, or the first of them began.
        self._waiting, self._moved = 0, 0.0

    @property
    def busy_for(self) -> float:
        """Seconds since a call ended, or the first began, while others wait for it."""
        return elapsed() - self._moved if self._waiting else 0.0

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return what a call returns, once those before it have ended."""
        self._moved = self._moved if self._waiting else elapsed()
        self._waiting += 1
        began = elapsed()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except Exception:
            self.failures += 1
            raise
        finally:
            self._waiting -= 1
            self._moved = elapsed()
            self.durations.add(self._moved - began)

    def close(self) -> None:
        """End the thread, once its calls have ended."""
        self._thread.shutdown()

    def abandon(self) -> None:
        """Drop calls that wait; one that hangs ends with the process."""
        self._thread.shutdown(wait=False, cancel_futures=True)
