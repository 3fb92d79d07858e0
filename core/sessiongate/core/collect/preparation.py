"""One source's sessions, prepared before the table changes.

Between preparation and showing, other sources may show theirs. A prepared session records
what it was made from, and is made again if that has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sessiongate.core.collect.last_known import LastKnown
from sessiongate.core.collect.links import Linked, Links
from sessiongate.core.collect.truncation import link, truncate
from sessiongate.core.ledger.rows import Held
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.moments import is_storable
from sessiongate.core.table.draft import Draft
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.session_pb2 import Session


class Ready(NamedTuple):
    """A session that may have changed, and the state that it was compared with."""

    session: Session
    piece: bytes | None  # of what the table had
    linked: Linked
    draft: Draft | None  # None if it equals what the table had


class Preparation:
    """Prepares the sessions of one source."""

    def __init__(self, source: str, table: SessionTable, links: Links, max_session: int) -> None:
        self._source = source
        self._table = table
        self._links = links
        self._max_session = max_session
        self._last_known = LastKnown()

    def ready(self, key: str, item: Observed, held: Held) -> Ready:
        """Compare an observed session with the table."""
        known = self._table.get(held.id)
        return self._compared(self._complete(key, item, held, known), known)

    def draft(self, ready: Ready) -> Draft | None:
        """Return the draft to show now, if the session has changed."""
        ident = ready.session.id
        if self._table.piece(ident) is not ready.piece or self._links.of(ident) != ready.linked:
            ready = self._compared(ready.session, self._table.get(ident))
        return ready.draft

    def relinked(self, idents: Iterable[int]) -> Iterator[Draft]:
        """Yield live sessions, of any source, with their current links."""
        for known in filter(None, map(self._table.get, idents)):
            session = Session()
            session.CopyFrom(known)
            draft = self._compared(session, known).draft
            if draft is not None:
                yield draft

    def forget(self, key: str) -> None:
        """Forget the unreadable members of a session."""
        self._last_known.forget(key)

    def _compared(self, session: Session, known: Session | None) -> Ready:
        ident = session.id
        piece, linked = self._table.piece(ident), self._links.of(ident)
        link(session, *linked, self._max_session)
        if known is not None:
            session.revision = known.revision
            session.update_time.CopyFrom(known.update_time)
            if session == known:
                return Ready(session, piece, linked, None)
        return Ready(session, piece, linked, Draft.of(session))

    def _complete(self, key: str, item: Observed, held: Held, known: Session | None) -> Session:
        """Return the observed session with the core's additions, except links."""
        session = item.session
        if session.id:  # prepared before: a draft may own that object
            session = Session()
            session.CopyFrom(item.session)
            # The core's additions do not count towards its size.
            link(session, (), (), self._max_session)
        elif item.unreadable:
            self._last_known.fill_in(key, item, known)
        _clear_unstorable(session)
        session.id = held.id
        session.source = self._source
        session.connect_time.FromNanoseconds(held.connect_time)
        if item.stated_id == held.id:  # add nothing to a session that keeps its own id
            session.ClearField("native_id")
        return truncate(session, self._max_session)


def _clear_unstorable(session: Session) -> None:
    """Clear times that no reader of the session could take; its start is set from the ledger."""
    if session.HasField("last_active_time") and not is_storable(session.last_active_time):
        session.ClearField("last_active_time")
    for query in session.queries:
        for name in ("receive_time", "complete_time"):
            if not is_storable(getattr(query, name)):
                query.ClearField(name)
