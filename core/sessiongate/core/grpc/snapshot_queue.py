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
# Seconds after which others do not wait for a snapshot: while its reader does not take the next
# message of it, and in total.
_STALLED, _LONGEST = 0.05, 60.0


class SnapshotQueue:
    """Gives slots to snapshots in order of arrival; a caller's second one waits for its first."""

    def __init__(self) -> None:
        self._sending: set[SnapshotSlot] = set()
        self._taken: Counter[str] = Counter()  # how many of these each caller has
        self._waiting: dict[SnapshotSlot, None] = {}  # in order of arrival

    @contextmanager
    def slot(self, caller: str) -> Iterator[SnapshotSlot]:
        """Wait for a slot, and hold it at most until the context ends."""
        slot = SnapshotSlot(self, caller)
        self._waiting[slot] = None
        self._grant()
        try:
            yield slot
        finally:
            slot.leave()

    def returned(self, slot: SnapshotSlot) -> None:
        """Let a slot that was left for a while be taken again before all others that wait."""
        self._waiting = {slot: None, **self._waiting}
        self._grant()

    def left(self, slot: SnapshotSlot) -> None:
        """Note that a slot is free, or no longer waited for."""
        self._waiting.pop(slot, None)
        if slot in self._sending:
            self._sending.remove(slot)
            self._taken[slot.caller] -= 1
            if not self._taken[slot.caller]:
                del self._taken[slot.caller]
            self._grant()

    def _grant(self) -> None:
        for slot in [*self._waiting]:
            if len(self._sending) >= _OF_ALL:
                return
            if self._taken[slot.caller] < _OF_A_CALLER:
                del self._waiting[slot]
                self._sending.add(slot)
                self._taken[slot.caller] += 1
                slot.grant()


class SnapshotSlot:
    """A snapshot's slot among those that are sent, once it has waited for it."""

    def __init__(self, queue: SnapshotQueue, caller: str) -> None:
        self.caller = caller
        self._queue = queue
        self._granted = asyncio.Event()
        self._ends = 0.0
        self._is_left = False

    def grant(self) -> None:
        """Let the snapshot be sent."""
        self._ends = self._ends or elapsed() + _LONGEST
        self._granted.set()

    async def is_granted(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; return whether the next part may be sent."""
        try:
            async with asyncio.timeout(seconds):
                return await self._granted.wait()
        except TimeoutError:
            return False

    @property
    def is_held(self) -> bool:
        """Whether others wait for this snapshot, or it waits for them."""
        if self._granted.is_set() and elapsed() >= self._ends:
            self.leave()
        return not self._is_left

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Let others have the slot while what is sent in this context waits for its reader."""
        stalled = asyncio.get_running_loop().call_later(_STALLED, self._pause)
        try:
            yield
        finally:
            stalled.cancel()
        if not (self._is_left or self._granted.is_set()):
            self._queue.returned(self)

    def _pause(self) -> None:
        if not self._is_left:
            self._granted.clear()
            self._queue.left(self)

    def leave(self) -> None:
        """Leave the slot to others, if it is not left yet."""
        if not self._is_left:
            self._is_left = True
            self._queue.left(self)
