"""Deadlines that are enforced before every response, however late the event loop is.

A timer alone is not enough: a loop that was blocked, or a process that was stopped,
answers waiting calls before it runs its timers.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from sessiongate.runtime.elapsed import elapsed

_Change = Callable[[], None]


class Deadlines:
    """Actions, each with the time at which it is due, on the clock `elapsed`.

    Call `enforce` before reading what they change; a timer calls it as well.
    """

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        self._due: dict[_Change, float] = {}
        self._next = math.inf  # no deadline is earlier
        self._timer: asyncio.TimerHandle | None = None

    def set(self, action: _Change, moment: float) -> None:
        """Schedule an action, or move one that is scheduled."""
        self._due[action] = moment
        if moment < self._next:
            self._next = moment
            self._schedule()

    def cancel(self, action: _Change) -> None:
        """Cancel an action, if it is scheduled."""
        self._due.pop(action, None)

    def enforce(self) -> None:
        """Run all actions that are due."""
        while (now := self._clock()) >= self._next:
            due = [action for action, moment in self._due.items() if moment <= now]
            for action in due:
                del self._due[action]
            for action in due:
                action()  # which may schedule others that are due already
            self._next = min(self._due.values(), default=math.inf)

    def close(self) -> None:
        """Cancel all actions."""
        self._due.clear()
        self._next = math.inf
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._next < math.inf:
            delay = max(0.0, self._next - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.enforce()
        self._schedule()
