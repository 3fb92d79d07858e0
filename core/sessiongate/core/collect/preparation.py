"""One source's sessions, prepared before the table changes.

Between preparation and showing, other sources may show theirs. A prepared session records
what it was made from, and is made again if that has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import nsmallest
from typing import NamedTuple

from google.protobuf.message import Message

from sessiongate.core.collect.keys import short
from sessiongate.core.collect.last_known import LastKnown
from sessiongate.core.collect.links import Linked, Links
from sessiongate.core.collect.scopes import SourceScopes
from sessiongate.core.collect.truncation import link, truncate
from sessiongate.core.place import id_of, time_of
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.moments import is_storable
from sessiongate.core.table.draft import Draft
from sessiongate.core.table.row import Row
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.session_pb2 import Activity, Session

MAX_BLOCKERS = 100  # sessions that one waits for; the contract promises no more


class Ready(NamedTuple):
    """A session that may have changed, and the state that it was compared with."""

    session: Session
    row: Row | None  # what the table had
    linked: Linked
    draft: Draft | None  # None if it equals what the table had


class Preparation:
    """Prepares the sessions of one source."""

    def __init__(
        self,
        source: str,
        table: SessionTable,
        links: Links,
        max_session: int,
        scopes: SourceScopes | None = None,
    ) -> None:
        """State TCP links, for fronts, if there are ``scopes``."""
        self._scopes = scopes
        self._source = source
        self._table = table
        self._links = links
        self._max_session = max_session
        self._last_known = LastKnown()
        # The ids of those of its sessions, by key, that the ones to prepare wait for.
        self.blockers: Mapping[str, int] = {}

    def ready(self, key: str, item: Observed, place: int) -> Ready:
        """Compare an observed session, at its place in the table, with what the table has."""
        row = self._table.row(id_of(place))
        known = None if row is None else row.session
        return self._compared(self._complete(key, item, place, known), row, known)

    def draft(self, ready: Ready) -> Draft | None:
        """Return the draft to show now, if the session has changed."""
        ident = ready.session.id
        row = self._table.row(ident)
        if row is not ready.row or self._links.of(ident) != ready.linked:
            known = None if row is None else row.session
            ready = self._compared(ready.session, row, known)
        return ready.draft

    def relinked(self, idents: Iterable[int]) -> Iterator[Draft]:
        """Yield live sessions, of any source, with their current links."""
        for row in filter(None, map(self._table.row, idents)):
            draft = self._compared(row.session, row, row.session).draft
            if draft is not None:
                yield draft

    def forget(self, key: str) -> None:
        """Forget the unreadable members of a session."""
        self._last_known.forget(key)

    def _compared(self, session: Session, row: Row | None, known: Session | None) -> Ready:
        """Compare a session with what the table has: ``row``, and ``known``, that decoded."""
        linked = self._links.of(session.id)
        link(session, *linked, self._max_session)
        if known is not None:
            session.revision = known.revision
            session.identity_revision = known.identity_revision
            session.update_time.CopyFrom(known.update_time)
            if session == known:
                return Ready(session, row, linked, None)
        return Ready(session, row, linked, Draft.of(session))

    def _complete(self, key: str, item: Observed, place: int, known: Session | None) -> Session:
        """Return the observed session with the core's additions, except links."""
        session = item.session
        if session.id:  # prepared before: a draft may own that object
            session = Session()
            session.CopyFrom(item.session)
            # The core's additions do not count towards its size.
            link(session, (), (), self._max_session)
        elif item.unreadable:
            self._last_known.fill_in(key, item, known)
        if session.HasField("activity"):
            self._set_blockers(session.activity, item.blocked_by)
        _clear_unstorable(session)
        if self._scopes is not None:
            self._scopes.state(session, item.accepted, item.opened)
        session.id = id_of(place)
        session.source = self._source
        start = session.connect_time
        start.seconds, start.nanos = divmod(time_of(place), 10**9)
        if item.stated_id == session.id:  # add nothing to a session that keeps its own id
            session.ClearField("native_id")
        return truncate(session, self._max_session)

    def _set_blockers(self, activity: Activity, keys: Iterable[str]) -> None:
        found = {ident for key in keys if (ident := self.blockers.get(short(key))) is not None}
        del activity.blocked_by_ids[:]
        activity.blocked_by_ids.extend(nsmallest(MAX_BLOCKERS, found))


def _clear_unstorable(session: Session) -> None:
    """Clear times that no reader of the session could take; its start is set from the ledger."""
    _clear_times(session, "last_active_time")
    if session.HasField("activity"):
        _clear_times(session.activity, "since_time", "transaction_start_time")
    for query in session.queries or ():
        for name in ("receive_time", "complete_time"):
            if not is_storable(getattr(query, name)):
                query.ClearField(name)


def _clear_times(message: Message, *names: str) -> None:
    for name in names:
        if message.HasField(name) and not is_storable(getattr(message, name)):
            message.ClearField(name)
