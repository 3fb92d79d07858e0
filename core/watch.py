"""One watcher: the table's sessions and its log, as the messages of WatchSessions.

While it waits for its reader, a watcher holds no part of the table or the log, only
the messages of one step. What it has told is always the table at its revision, up to
the highest id that it has told.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from core.log import Step
from core.query import matcher
from core.table import MAX_PAGE_BYTES, SessionTable
from core.wire import field
from sessiongate.v1.session_service_pb2 import (
    SessionFilter,
    SessionRemoval,
    SourceStatus,
    WatchChanges,
    WatchProgress,
    WatchSessionsResponse,
    WatchSync,
)

# Seconds between messages that carry as_of: one a second is promised, and the loop
# may be late.
PROGRESS_INTERVAL = 0.9
# Sessions looked at for one message of a snapshot. It is what is kept for a reader that
# stalls, once here and once, decoded, where it reads.
SNAPSHOT_SESSIONS = 25
_SNAPSHOT_BYTES = 64 * 1024  # of one message, unless one session takes more
# Filters whose encoding of a fresh step is kept for others with the same one.
_SHARED_FILTERS = 16
_REMOVAL_BYTES = 24  # at most, with tag and length
_EVERY_ID = math.inf


class _Effect(NamedTuple):
    """What a change is to a watcher: an upsert with its piece, or a removal with None."""

    revision: int
    id: int
    piece: bytes | None


class Watcher:
    """Follows a table for one reader.

    ``wanted`` is a valid filter, or None for every session; ``resume_revision`` as in
    WatchSessionsRequest; ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        table: SessionTable,
        wanted: SessionFilter | None,
        resume_revision: int,
        clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._matches = matcher(wanted) if wanted is not None else None
        self._filter = wanted.SerializeToString(deterministic=True) if wanted is not None else b""
        self._clock = clock
        self._began = clock()
        self._revision = resume_revision or table.revision
        # Ids up to this one are told: every one from the sync on.
        self._told = _EVERY_ID if resume_revision else 0.0
        self._due = self._began  # when the next as_of is

    async def messages(self) -> AsyncGenerator[bytes]:
        """Encoded WatchSessionsResponses without end, each made when it is asked for.

        Raises `RevisionNotHeldError`, also where the reader comes back so late that
        the log went on without it, and `ShuttingDownError`.
        """
        while True:
            messages = self._next()
            for message in messages:
                yield message
            if not messages:
                await self._table.log.wait(self._revision, self._due - self._clock())

    def _next(self) -> Sequence[bytes]:
        """What there is to tell now, if anything."""
        self._table.deadlines.enforce()
        step = self._table.log.after(self._revision)
        if step is not None:
            return self._changes(step)
        if self._told != _EVERY_ID:
            return self._snapshot()
        if self._clock() >= self._due:
            return [self._current(WatchSessionsResponse(progress=WatchProgress()))]
        return []

    def _snapshot(self) -> Sequence[bytes]:
        """The next part of the snapshot, and the sync behind the last."""
        sessions = self._table.following(int(self._told), SNAPSHOT_SESSIONS)
        pieces: list[bytes] = []
        room = _SNAPSHOT_BYTES
        for session, piece in sessions:
            if self._matches is None or self._matches(session):
                room -= len(piece)
                if room < 0 and pieces:
                    break
                pieces.append(piece)
            self._told = session.id
        else:
            if len(sessions) < SNAPSHOT_SESSIONS:
                self._told = _EVERY_ID
        messages = [field(WatchSessionsResponse.SNAPSHOT_FIELD_NUMBER, b"".join(pieces))]
        if self._told == _EVERY_ID:
            sync = WatchSync(
                sources=[state.status for state in self._table.sources()],
                sources_update_time=self._table.sources_time,
            )
            messages.append(self._current(WatchSessionsResponse(sync=sync)))
        return messages

    def _changes(self, step: Step) -> Sequence[bytes]:
        """What a step changes of what was told."""
        synced = self._told == _EVERY_ID
        # What others have told too: the whole step, to one who is past the sync.
        shared = step.shared if synced and self._revision < step.first else None
        messages = shared.get(self._filter) if shared is not None else None
        if messages is None:
            messages = _encode(step, self._effects(step), synced=synced)
            if shared is not None and len(shared) < _SHARED_FILTERS:
                shared[self._filter] = messages
        self._revision = step.last
        if messages and synced and step.last == self._table.revision:
            messages = [*messages[:-1], messages[-1] + self._as_of()]
        return messages

    def _effects(self, step: Step) -> Iterator[_Effect]:
        matches = self._matches
        pairs = step.pairs() if matches is not None else ()
        for index, change in enumerate(step.changes):
            revision = step.first + index
            if revision <= self._revision or change.id > self._told:
                continue
            entered, left = change.new is not None, change.old is not None
            if matches is not None:
                old, new = pairs[index]
                entered = new is not None and matches(new)
                left = old is not None and matches(old)
            if entered:
                yield _Effect(revision, change.id, change.new)
            elif left:
                yield _Effect(revision, change.id, None)

    def _current(self, message: WatchSessionsResponse) -> bytes:
        """The message, saying that it brings the copy to what the table is now."""
        message.revision = self._revision
        message.update_time.CopyFrom(self._table.update_time)
        return message.SerializeToString() + self._as_of()

    def _as_of(self) -> bytes:
        now = self._clock()
        self._due = now + PROGRESS_INTERVAL
        message = WatchSessionsResponse(read_time=self._table.moment())
        message.as_of.FromNanoseconds(int((now - self._began) * 1e9))
        return message.SerializeToString()


def _encode(step: Step, effects: Iterable[_Effect], *, synced: bool) -> Sequence[bytes]:
    """The messages that tell a step; before the sync they carry no revision."""

    def reaching(revision: int) -> WatchSessionsResponse:
        if not synced:
            return WatchSessionsResponse()
        return WatchSessionsResponse(revision=revision, update_time=step.update_time)

    *parts, last = _parts(effects)
    messages = [_message(part, [], reaching(part[-1].revision)) for part in parts]
    sources = [step.source] if step.source is not None else []
    if last or sources:
        messages.append(_message(last, sources, reaching(step.last)))
    return messages


def _parts(effects: Iterable[_Effect]) -> Iterator[list[_Effect]]:
    """The effects, in order, in parts that fit into a message each; one at least."""
    part: list[_Effect] = []
    room = MAX_PAGE_BYTES
    for effect in effects:
        size = _REMOVAL_BYTES if effect.piece is None else len(effect.piece)
        if size > room and part:
            yield part
            part, room = [], MAX_PAGE_BYTES
        part.append(effect)
        room -= size
    yield part


def _message(
    effects: Sequence[_Effect], sources: Sequence[SourceStatus], rest: WatchSessionsResponse
) -> bytes:
    removals = [
        SessionRemoval(id=effect.id, revision=effect.revision)
        for effect in effects
        if effect.piece is None
    ]
    upserts = b"".join([effect.piece for effect in effects if effect.piece is not None])
    changes = upserts + WatchChanges(removals=removals, sources=sources).SerializeToString()
    return field(WatchSessionsResponse.CHANGES_FIELD_NUMBER, changes) + rest.SerializeToString()
