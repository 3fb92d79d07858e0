"""One reader of events: what it holds, and what it is sent next.

The events, in the order in which a reader receives them:

- ``snapshot``: discard all sessions; the current ones follow.
- ``upsert``: a session is new or has changed; the data is its resource object.
- ``remove``: a session has ended or no longer matches; the data is its type and id. Ignore
  a session that you do not hold.
- ``sources``: resource objects of the sources whose state has changed; in a snapshot, of all.
- ``sync``: what was sent so far is what the core holds at this revision.
- ``lost``: the core is unavailable; until the next ``sync``, nothing is known to be current.
- ``end``: the stream ends and was not cut off; the data is an error document with the reason.

Ids are revisions: from the ``sync`` of a snapshot on, a reader can resume from any of them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.select import pushed_down
from sessiongate.gateway.jsonapi.collections import with_fields
from sessiongate.gateway.jsonapi.document import dump
from sessiongate.gateway.jsonapi.eventstream import event
from sessiongate.gateway.jsonapi.filters import Filter
from sessiongate.gateway.representation.row import SessionRow, write_all
from sessiongate.gateway.representation.session import session_resource
from sessiongate.gateway.representation.source import SOURCE_STATES
from sessiongate.gateway.upstream.selector import Selector
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    SessionFilter,
    SessionRemoval,
    SourceStatus,
    WatchSessionsResponse,
)
from sessiongate.v1.source_service_pb2 import SourceState

_PART_BYTES = 8 * 1024
_KEPT_PIECES = 2048


class EventSubscriber:
    """One reader: what it asked for, how far it has got, and what to send it next."""

    def __init__(
        self, request: ApiRequest, selector: Selector, resumed: int | None, pieces: Pieces
    ) -> None:
        self._request = request
        self._selector, filters = pushed_down(request.query.filters, selector, exact=True)
        self._matches = _Matches(request, filters, unsure=resumed is not None) if filters else None
        self._pieces = pieces
        self.revision = resumed or 0  # to resume from; 0: a snapshot is needed
        self.synced = False  # whether everything sent is current
        self._lost = False  # whether the reader was sent ``lost``
        self._fresh = True  # whether no message of the stream has arrived yet

    @property
    def filter(self) -> SessionFilter | None:
        """The filter that the core applies."""
        return self._selector.filter()

    def start(self, *, resumed: bool) -> None:
        """Begin a new stream."""
        self._fresh = True
        if not resumed:
            self.revision, self.synced = 0, False

    def lose(self) -> bool:
        """Note that the core is lost; return whether the reader does not know it yet."""
        news, self._lost = not self._lost, True
        self.synced = False
        return news

    def events_of(self, message: WatchSessionsResponse, *, late: bool = False) -> Iterator[bytes]:
        """Yield the events for a message of the core, without ``sync`` if it arrived ``late``."""
        if self._fresh and not self.revision:
            # An empty id: a reader that is cut off now has nothing to resume from.
            yield b"event: snapshot\nid:\ndata: {}\n\n"
            if self._matches is not None:
                self._matches.forget()
        self._fresh = False
        yield from self._changes(message)
        for sources in (message.sync.sources, message.changes.sources):
            if sources:
                yield event("sources", _sources(sources), message.revision or None)
        if removed := message.changes.removed_sources:
            yield event("sources", _removed(removed), message.revision or None)
        if message.revision:
            self.revision = message.revision
        if not self.synced and not late and message.HasField("as_of"):
            self.synced, self._lost = True, False
            data = dump({"revision": str(self.revision)}, pretty=False)
            yield event("sync", data, self.revision)

    def _changes(self, message: WatchSessionsResponse) -> Iterator[bytes]:
        now = time.time()
        for session in message.snapshot.sessions:
            yield from self._upsert(session, None, now)
        # In revision order: a reader that resumes from one has then seen all before it.
        changes: list[Session | SessionRemoval] = [
            *message.changes.removals,
            *message.changes.upserts,
        ]
        changes.sort(key=_revision)
        for change in changes:
            # Before the sync, there is nothing to resume from.
            ident = change.revision if message.revision else None
            if isinstance(change, Session):
                yield from self._upsert(change, ident, now)
            elif self._matches is None or self._matches.leaves(change.id, gone=True):
                yield _remove(change.id, ident)

    def _upsert(self, session: Session, ident: int | None, now: float) -> Iterator[bytes]:
        if self._matches is None or self._matches.has(session, now):
            yield event("upsert", self._data(session, now), ident)
        elif self._matches.leaves(session.id, gone=False):
            yield _remove(session.id, ident)
        else:
            yield b""

    def _data(self, session: Session, now: float) -> bytes:
        base = self._request.context.base
        if "sessions" not in self._request.query.fields:
            return write_all((self._pieces.of(session),), base, now)
        resource = with_fields(self._request.query, session_resource(session, base, now))
        return dump(resource, pretty=False)


class _Matches:
    """The filters that the core cannot apply, and which sessions the reader holds by them.

    After a snapshot, what it holds is known. A reader that resumes may hold any session,
    so ``unsure`` counts every session that it was sent nothing about as held.
    """

    def __init__(self, request: ApiRequest, filters: Sequence[Filter], *, unsure: bool) -> None:
        self._request = request
        self._filters = filters
        self._unsure = unsure
        self._held: dict[int, bool] = {}  # if it differs from ``unsure``

    def forget(self) -> None:
        """Note that the reader holds no sessions."""
        self._unsure = False
        self._held.clear()

    def has(self, session: Session, now: float) -> bool:
        """Return whether a session matches, and is therefore held from now on."""
        resource = session_resource(session, self._request.context.base, now)
        if not all(found.matches(resource) for found in self._filters):
            return False
        self._note(session.id, held=True)
        return True

    def leaves(self, ident: int, *, gone: bool) -> bool:
        """Return whether the reader held a session that has ended or no longer matches."""
        held = self._held.pop(ident, self._unsure)
        if not gone:
            self._note(ident, held=False)
        return held

    def _note(self, ident: int, *, held: bool) -> None:
        if held == self._unsure:
            self._held.pop(ident, None)
        else:
            self._held[ident] = held


class Pieces:
    """Caches the sessions sent last, so that each is rendered once for all readers."""

    def __init__(self) -> None:
        self._rows: OrderedDict[tuple[int, int], SessionRow] = OrderedDict()

    def of(self, session: Session) -> SessionRow:
        """Return the row of a session from a message."""
        key = (session.id, session.revision)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = SessionRow(session)
            if len(self._rows) > _KEPT_PIECES:
                self._rows.popitem(last=False)
        return row


def parts_of(events: Iterable[bytes]) -> Iterator[bytes | None]:
    """Join events into parts of a useful size; yield None wherever the work may rest."""
    part: list[bytes] = []
    size = 0
    for written in events:
        part.append(written)
        size += len(written)
        if size >= _PART_BYTES:
            yield b"".join(part)
            part, size = [], 0
        else:
            yield None
    if size:
        yield b"".join(part)


def _revision(change: Session | SessionRemoval) -> int:
    return change.revision


def _remove(ident: int, revision: int | None) -> bytes:
    return event("remove", b'{"id":"%d","type":"sessions"}' % ident, revision)


def _state(source: SourceStatus) -> SourceState:
    if source.reachable:
        return SourceState.SOURCE_STATE_REACHABLE
    return SourceState.SOURCE_STATE_UNREACHABLE


def _sources(sources: Iterable[SourceStatus]) -> bytes:
    resources = [
        {
            "id": source.name,
            "type": "sources",
            "attributes": {"state": SOURCE_STATES[_state(source)], "partial": source.partial},
        }
        for source in sources
    ]
    return dump(resources, pretty=False)


def _removed(names: Iterable[str]) -> bytes:
    gone = [{"id": name, "type": "sources", "attributes": {"state": "removed"}} for name in names]
    return dump(gone, pretty=False)
