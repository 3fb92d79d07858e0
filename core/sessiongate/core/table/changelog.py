"""ChangeLog: the last changes of the table, bounded, for all watchers.

Watchers do not register with the log: a watcher is a revision that it has reached; it
reads the step after that revision, and waits for the next. One that does not return
costs the log nothing.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.errors import RevisionNotHeldError, ShuttingDownError
from sessiongate.core.table.row import Row
from sessiongate.v1.session_service_pb2 import WatchChanges

# Limit of the log, in bytes that the table does not hold as well.
LOG_BYTES = 128 * 1024 * 1024
# Bytes of a step without its changes, with a source's state; of a change without its rows;
# and of a row without its piece.
_STEP_OVERHEAD = 700
_CHANGE_OVERHEAD = 16
_ROW_OVERHEAD = 350
# The latest steps, whose encoded parts are shared: few watchers are further behind.
_FRESH_STEPS = 10
# Watchers woken in one round of the loop, so that a call does not wait for all of them.
_WOKEN_AT_ONCE = 50


class Step:
    """Changes that became visible at once: the i-th has the revision ``first + i``.

    A step holds either changes of sessions or one change of a source: its state, or that it is
    not read any longer. The i-th change
    is of the session with the rows ``old[i]``, None for a new session, and ``new[i]``, None for
    a removed one.
    """

    __slots__ = ("first", "last", "new", "old", "shared", "size", "source", "update_time")

    def __init__(
        self,
        first: int,
        update_time: Timestamp,
        old: Sequence[Row | None],
        new: Sequence[Row | None],
        source: WatchChanges | None,
    ) -> None:
        self.first = first
        self.last = first + max(len(new), 1) - 1
        self.update_time = update_time
        self.old = old
        self.new = new
        self.source = source
        # Bytes that the log holds for it and the table does not.
        self.size = _STEP_OVERHEAD + _CHANGE_OVERHEAD * len(new)
        self.size += sum(_ROW_OVERHEAD + len(row.piece) for row in old if row is not None)
        if source is not None:
            self.size += source.ByteSize()
        # Parts encoded for watchers, by filter and the revision that they follow, each with
        # the revision that it reaches. None once the step is not fresh.
        self.shared: dict[tuple[bytes, int], tuple[bytes, int]] | None = {}


class ChangeLog:
    """The steps from some revision up to ``revision``, the latest.

    Invariant: there are no gaps between steps. The oldest ones are dropped to keep the
    total within ``limit`` bytes; the latest one stays, whatever its size.
    """

    def __init__(self, revision: int, limit: int = LOG_BYTES) -> None:
        self.revision = revision
        self._limit = limit
        self._size = 0
        self.oldest = revision  # the log has every change after it
        self._steps: list[Step] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def append(
        self,
        update_time: Timestamp,
        old: Sequence[Row | None] = (),
        new: Sequence[Row | None] = (),
        source: WatchChanges | None = None,
    ) -> None:
        """Add a `Step` of one or more changes, and wake all waiting watchers."""
        if len(self._steps) >= _FRESH_STEPS:
            self._steps[-_FRESH_STEPS].shared = None
        step = Step(self.revision + 1, update_time, old, new, source)
        self._steps.append(step)
        self.revision = step.last
        self._size += step.size
        gone = 0
        while self._size > self._limit and step is not self._steps[gone]:
            self._size -= self._steps[gone].size
            self.oldest = self._steps[gone].last
            gone += 1
        del self._steps[:gone]
        self._wake()

    def forget(self) -> None:
        """Drop all steps, which nobody has read."""
        self.oldest, self._steps, self._size = self.revision, [], 0

    def after(self, revision: int) -> Step | None:
        """Return the step with the change after a revision; None if there is none yet.

        Raises `RevisionNotHeldError`, and `ShuttingDownError` once closed.
        """
        if self._closed:
            raise ShuttingDownError("the core is shutting down; resume at its successor")
        if not self.oldest <= revision <= self.revision:
            raise RevisionNotHeldError(
                f"the changes after revision {revision} are not available, only those after"
                f" revisions {self.oldest} to {self.revision}; start over",
                revision=str(revision),
                oldest=str(self.oldest),
                newest=str(self.revision),
            )
        if revision == self.revision:
            return None
        return self._steps[self._place(revision)]

    def _place(self, revision: int) -> int:
        """Return the place of the step with the change after a revision."""
        return bisect_right(self._steps, revision, key=attrgetter("last"))

    def between(self, revision: int, latest: int) -> Sequence[Step]:
        """Return the steps after one revision up to another; both end steps that it holds."""
        return self._steps[self._place(revision) : self._place(latest)]

    async def wait(self, revision: int, seconds: float) -> None:
        """Wait for a change after a revision, or for `close`, for at most ``seconds``."""
        if self.revision > revision or self._closed:
            await asyncio.sleep(0)  # a watcher far behind lets others run between steps
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._waiting.add(woken)
        timer = loop.call_later(seconds, _resolve, woken)
        try:
            await woken
        finally:
            timer.cancel()
            self._waiting.discard(woken)

    def touch(self) -> None:
        """Wake all waiting watchers: the table is known to be more current than it was."""
        self._wake()

    def close(self) -> None:
        """End all watchers: from now on `after` raises `ShuttingDownError`."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = list(self._waiting), set()
        _wake_in_turn(waiting)


def _wake_in_turn(waiting: Sequence[asyncio.Future[None]]) -> None:
    for woken in waiting[:_WOKEN_AT_ONCE]:
        _resolve(woken)
    if rest := waiting[_WOKEN_AT_ONCE:]:
        asyncio.get_running_loop().call_soon(_wake_in_turn, rest)


def _resolve(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
