"""The snapshots that streams begin with: a few are sent at a time, the others wait in order.

Sent all at once, they would all come late, some so late that the change log no longer holds
what has happened since they began.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sessiongate.runtime.elapsed import elapsed

# Snapshots that are sent at a time: no caller keeps all others waiting.
_OF_A_CALLER, _OF_ALL = 1, 2
# Seconds after which others no longer wait for a snapshot: if its reader does not take the next
# message of it, and in total.
_STALLED, _LONGEST = 1.0, 60.0


class SnapshotQueue:
    """Gives places to snapshots in order of arrival; a caller's second one waits for its first."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()  # places of each caller
        self._waiting: dict[Place, None] = {}  # in order of arrival

    @contextmanager
    def place(self, caller: str) -> Iterator[Place]:
        """Wait for a place, and hold it at most until the context ends."""
        place = Place(self, caller)
        self._waiting[place] = None
        self._grant()
        try:
            yield place
        finally:
            place.leave()

    def left(self, place: Place) -> None:
        """Note that a place is free, or no longer waited for."""
        if place in self._waiting:
            del self._waiting[place]
            return
        self._taken[place.caller] -= 1
        if not self._taken[place.caller]:
            del self._taken[place.caller]
        self._grant()

    def _grant(self) -> None:
        for place in [*self._waiting]:
            if self._taken.total() >= _OF_ALL:
                return
            if self._taken[place.caller] < _OF_A_CALLER:
                del self._waiting[place]
                self._taken[place.caller] += 1
                place.grant()


class Place:
    """A snapshot's place among those that are sent, once it has waited for it."""

    def __init__(self, queue: SnapshotQueue, caller: str) -> None:
        self.caller = caller
        self._queue = queue
        self._granted = asyncio.Event()
        self._ends = 0.0
        self._is_left = False

    def grant(self) -> None:
        """Let the snapshot be sent."""
        self._ends = elapsed() + _LONGEST
        self._granted.set()

    async def is_granted(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; return whether the snapshot may be sent."""
        try:
            async with asyncio.timeout(seconds):
                return await self._granted.wait()
        except TimeoutError:
            return False

    @property
    def is_held(self) -> bool:
        """Whether others wait for this snapshot."""
        if elapsed() >= self._ends:
            self.leave()
        return not self._is_left

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Leave the place if it takes long to send what is sent in this context."""
        stalled = asyncio.get_running_loop().call_later(_STALLED, self.leave)
        try:
            yield
        finally:
            stalled.cancel()

    def leave(self) -> None:
        """Leave the place to others, if it is not left yet."""
        if not self._is_left:
            self._is_left = True
            self._queue.left(self)
