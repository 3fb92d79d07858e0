"""One watcher: the table's sessions and its change log, as messages of WatchSessions.

While it waits for its reader, a watcher holds no part of the table or the log, only
the messages of one step. What it has sent always equals the table at its revision, up
to the highest id that it has sent.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from sessiongate.core.table.changelog import Step
from sessiongate.core.table.encoding import field
from sessiongate.core.table.filter import RowFilter
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.turns import _T, Steps, finished
from sessiongate.v1.session_service_pb2 import (
    SessionRemoval,
    WatchChanges,
    WatchProgress,
    WatchSessionsResponse,
    WatchSnapshot,
    WatchSync,
)

# Seconds between messages with as_of: one per second is promised, and the loop may be
# late.
PROGRESS_INTERVAL = 0.9
# A part of a snapshot that brings nothing: the reader must know that the core lives.
EMPTY_PART = WatchSessionsResponse(snapshot=WatchSnapshot()).SerializeToString()
# Sessions of one message of a snapshot, and those that a filter is tried on at once.
SNAPSHOT_SESSIONS = 1000
# Bytes of one message, unless one session is larger: each reader that stalls holds one. A message
# costs both sides half a millisecond, beside what is in it.
_MESSAGE_BYTES = 128 * 1024
# Encoded parts of a fresh step to share with watchers that have the same filter: those of all fresh
# steps take 128 MiB at most.
_SHARED_PARTS = 100
_LOOKED_AT = 100  # changes between two rests: less than a millisecond of work
_EVERY_ID = math.inf

RunSteps: TypeAlias = Callable[[Steps[_T]], Awaitable[_T]]


async def _at_once(steps: Steps[_T]) -> _T:
    return finished(steps)


class Watcher:
    """Follows a table for one reader.

    ``wanted`` is a filter, or None for every session; ``resume_revision`` as in
    WatchSessionsRequest; ``clock`` is monotonic, in seconds; ``work`` runs long work.
    """

    def __init__(
        self,
        table: SessionTable,
        wanted: RowFilter | None,
        resume_revision: int,
        clock: Callable[[], float],
        work: RunSteps[Any] = _at_once,
    ) -> None:
        self._table = table
        self._work = work
        self._filter = wanted
        self._clock = clock
        self._began = clock()
        self._revision = resume_revision
        # Ids up to this one have been sent; all of them once the sync was sent.
        self._sent_up_to = _EVERY_ID if resume_revision else 0.0
        self._due = self._began  # when the next as_of is
        self._stated = -math.inf  # until when the table was current, by the last as_of

    @property
    def is_synced(self) -> bool:
        """Whether the last part of the snapshot was made, or none is due."""
        return self._sent_up_to == _EVERY_ID

    async def messages(self) -> AsyncGenerator[bytes]:
        """Yield encoded WatchSessionsResponses forever, each made when it is requested.

        Raises `RevisionNotHeldError`, also if the reader returns so late that the log no
        longer has its revision, and `ShuttingDownError`.
        """
        self._revision = self._revision or self._table.revision
        while True:
            messages = await self._next()
            for message in messages:
                yield message
            if not messages:
                await self._rest()

    async def _rest(self) -> None:
        """Wait until there may be something to send."""
        table, reached = self._table, self._revision
        await table.log.wait(reached, self._due - self._clock())
        # Until then, what comes is sent once a second, so that reading the sources goes on.
        while not table.ready.is_set() and self._clock() < self._due:
            reached = table.revision
            table.log.after(reached)  # raises if the log is closed
            await table.log.wait(reached, self._due - self._clock())

    async def _next(self) -> Sequence[bytes]:
        """Return the messages to send now, if any."""
        self._table.deadlines.enforce()
        step = self._table.log.after(self._revision)
        if step is not None:
            return await self._changes(step)
        if not self.is_synced:
            messages: Sequence[bytes] = await self._work(self._snapshot())
            return messages
        if self._clock() >= self._due or self._has_news():
            return [self._current(WatchSessionsResponse(progress=WatchProgress()))]
        return []

    def _snapshot(self) -> Steps[Sequence[bytes]]:
        """Return the next part of the snapshot, and the sync after the last part.

        Until the table is ready, no part is the last: what comes meanwhile is sent already.
        It does not rest, so the table stays unchanged; but it waits for its turn, and returns
        nothing if the table has changed by then.
        """
        self._table.deadlines.enforce()
        if self._revision != self._table.revision:
            return []
        rows = self._table.following(int(self._sent_up_to), SNAPSHOT_SESSIONS)
        pieces: list[bytes] = []
        room = _MESSAGE_BYTES
        for row in rows:
            if self._filter is None or self._filter.matches(row):
                room -= len(row.piece)
                if room < 0 and pieces:
                    break
                pieces.append(row.piece)
            self._sent_up_to = row.id
        else:
            if len(rows) < SNAPSHOT_SESSIONS and self._table.ready.is_set():
                self._sent_up_to = _EVERY_ID
        if not rows and not self.is_synced:
            return self._waiting()
        messages = [field(WatchSessionsResponse.SNAPSHOT_FIELD_NUMBER, b"".join(pieces))]
        if self.is_synced:
            sync = WatchSync(
                sources=[state.status for state in self._table.sources()],
                sources_update_time=self._table.sources_time,
            )
            messages.append(self._current(WatchSessionsResponse(sync=sync)))
        return messages
        yield

    def _waiting(self) -> Sequence[bytes]:
        """Return what to send while nothing can be sent, if that is due."""
        now = self._clock()
        if now < self._due:
            return []
        self._due = now + PROGRESS_INTERVAL
        return [EMPTY_PART]

    async def _changes(self, step: Step) -> Sequence[bytes]:
        """Return a step's changes to what was sent, or as many of them as fit one message."""
        synced = self.is_synced
        # Shared with other watchers that are past the sync.
        key = (self._filter.digest if self._filter is not None else b""), self._revision
        part = step.shared.get(key) if synced and step.shared is not None else None
        if part is None:
            part = await self._work(self._part(step))
            if synced and step.shared is not None and len(step.shared) < _SHARED_PARTS:
                step.shared[key] = part
        message, self._revision = part
        self._table.deadlines.enforce()
        if message and synced and self._revision == self._table.revision:
            message += self._as_of()
        return [message] if message else []

    def _part(self, step: Step) -> Steps[tuple[bytes, int]]:
        """Return the message, empty if the filter hides all, and the revision that it reaches.

        Before the sync the message has no revision.
        """
        pieces: list[bytes] = []
        room = _MESSAGE_BYTES
        reached = step.last
        last = 0  # revision of the last piece
        for index in range(self._revision + 1 - step.first, len(step.new)):
            if index % _LOOKED_AT == 0:
                yield
            piece = self._effect(step, index)
            if piece is None:
                continue
            if len(piece) > room and pieces:
                reached = last
                break
            pieces.append(piece)
            room -= len(piece)
            last = step.first + index
        if step.source is not None:
            pieces.append(step.source.SerializeToString())
        if not pieces:
            return b"", reached
        rest = WatchSessionsResponse()
        if self.is_synced:
            rest = WatchSessionsResponse(revision=reached, update_time=step.update_time)
        changes = field(WatchSessionsResponse.CHANGES_FIELD_NUMBER, b"".join(pieces))
        return changes + rest.SerializeToString(), reached

    def _effect(self, step: Step, index: int) -> bytes | None:
        """Return a change as this watcher sees it, as a part of `WatchChanges`."""
        old, new, wanted = step.old[index], step.new[index], self._filter
        if new is not None and new.id <= self._sent_up_to and (not wanted or wanted.matches(new)):
            return new.piece
        if old is not None and old.id <= self._sent_up_to and (not wanted or wanted.matches(old)):
            removal = SessionRemoval(id=old.id, revision=step.first + index)
            return field(WatchChanges.REMOVALS_FIELD_NUMBER, removal.SerializeToString())
        return None

    def _current(self, message: WatchSessionsResponse) -> bytes:
        """Encode a message that brings the reader's copy to the table's current state."""
        message.revision = self._revision
        message.update_time.CopyFrom(self._table.update_time)
        return message.SerializeToString() + self._as_of()

    def _as_of(self) -> bytes:
        now = self._clock()
        self._due = now + PROGRESS_INTERVAL
        self._stated = min(now, self._table.current_until())
        message = WatchSessionsResponse(read_time=self._table.moment())
        message.as_of.FromNanoseconds(math.floor((self._stated - self._began) * 1e9))
        return message.SerializeToString()

    def _has_news(self) -> bool:
        """Return whether a table that follows others has become more current by some time.

        It would look twice as old if that waited until the next as_of is due.
        """
        current = self._table.current_until()
        return math.isfinite(current) and current - self._stated >= PROGRESS_INTERVAL / 2
