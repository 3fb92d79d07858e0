"""One source's sessions, prepared before the table changes.

Between preparing and showing, other sources may show theirs. A prepared session records
what it was made from, and is made again if that has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import NamedTuple

from sessiongate.core.collect.keys import short
from sessiongate.core.collect.last_known import LastKnown
from sessiongate.core.collect.links import UNLINKED, Linked, Links
from sessiongate.core.collect.scopes import SourceScopes
from sessiongate.core.collect.truncation import is_cut, link, truncate
from sessiongate.core.ledger.past import Opening
from sessiongate.core.place import id_of, time_of
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.moments import is_storable, storable_moment
from sessiongate.core.table.draft import Draft, unassigned
from sessiongate.core.table.row import Row
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.memory import untrack
from sessiongate.v1.session_pb2 import Activity, Session

MAX_BLOCKERS = 100  # sessions that one waits for; the contract promises no more


class PreparedSession(NamedTuple):
    """A session that may have changed, and the state that it was compared with."""

    session: Session
    row: Row | None  # what the table had
    linked: Linked
    draft: Draft | None  # None if it equals what the table had

    @property
    def size(self) -> int:
        """The size of what the table had, and of what it is to have."""
        shown = 0 if self.row is None else len(self.row.piece)
        return shown + (0 if self.draft is None else len(self.draft.body))


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

    def opening(self, key: str, item: Observed, now: Callable[[], int]) -> Opening:
        """Return a new session's description; it began ``now`` unless it says when."""
        session = item.session
        began = _stated_start(session)
        if session.id and item.was_given_start:
            began = None  # that of another session, which was shown by the same object
        opening = Opening(key, now() if began is None else began, item.stated_id, session)
        untrack(opening)
        return opening

    def ready(self, key: str, item: Observed, place: int) -> PreparedSession:
        """Compare an observed session, at its place in the table, with what the table has."""
        ident = id_of(place)
        row = self._table.row(ident)
        known = None if row is None else row.session
        session = self._complete(key, item, place, known)
        if row is None and self._links.of(ident) == UNLINKED:
            link(session, (), (), self._max_session)
            draft = Draft.of(session, place)
            if not is_cut(len(draft.body), self._max_session):
                return PreparedSession(session, None, UNLINKED, draft)
        return self._compared(truncate(session, self._max_session), row, known)

    def drafts(self, ready: Sequence[PreparedSession], *, is_still: bool) -> list[Draft]:
        """Return the drafts to show now, of the sessions that have changed.

        Nothing has changed since they were prepared if all ``is_still`` as it was.
        """
        if is_still:
            return [each.draft for each in ready if each.draft is not None]
        return [*filter(None, map(self.draft, ready))]

    def draft(self, ready: PreparedSession) -> Draft | None:
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

    def _compared(
        self, session: Session, row: Row | None, known: Session | None
    ) -> PreparedSession:
        """Compare a session with what the table has: ``row``, and ``known``, that decoded."""
        linked = self._links.of(session.id)
        link(session, *linked, self._max_session)
        if known is not None:
            session.revision = known.revision
            session.identity_revision = known.identity_revision
            session.update_time.CopyFrom(known.update_time)
            if session == known:
                return PreparedSession(session, row, linked, None)
        return PreparedSession(session, row, linked, Draft.of(session))

    def _complete(self, key: str, item: Observed, place: int, known: Session | None) -> Session:
        """Return the observed session, uncut, with the core's additions, except links."""
        session, ident = item.session, id_of(place)
        is_observed = not session.id
        if not is_observed:  # it was prepared before: a draft may own that object
            session = Session()
            session.CopyFrom(item.session)
            # The core's additions do not count towards its size.
            link(unassigned(session), (), (), self._max_session)
        elif item.unreadable:
            item.was_given_start |= _stated_start(session) is None
            self._last_known.fill_in(key, item, known)
        start, began = session.connect_time, divmod(time_of(place), 10**9)
        if (start.seconds, start.nanos) != began or not session.HasField("connect_time"):
            if is_observed and _stated_start(session) is None:
                item.was_given_start = True
            start.seconds, start.nanos = began
        _clear_unstorable(session)
        if session.HasField("activity"):
            activity = session.activity
            _clear_unstorable_activity(activity)
            activity.ClearField("blocked_by_ids")  # the core states those
            if item.blocked_by:
                self._set_blockers(activity, item.blocked_by)
        if self._scopes is not None:
            self._scopes.state(session, item.accepted, item.opened)
        session.id, session.source = ident, self._source
        if item.stated_id == ident:  # add nothing to a session that keeps its own id
            session.ClearField("native_id")
        return session

    def _set_blockers(self, activity: Activity, keys: Sequence[str]) -> None:
        found = {ident for key in keys if (ident := self.blockers.get(short(key))) is not None}
        activity.blocked_by_ids.extend(nsmallest(MAX_BLOCKERS, found))


def _stated_start(session: Session) -> int | None:
    return storable_moment(session.connect_time) if session.HasField("connect_time") else None


def _clear_unstorable(session: Session) -> None:
    """Clear times that no reader of the session could take; its start is set from the ledger."""
    if session.HasField("last_active_time") and not is_storable(session.last_active_time):
        session.ClearField("last_active_time")
    for query in session.queries or ():
        for name in ("receive_time", "complete_time"):
            if not is_storable(getattr(query, name)):
                query.ClearField(name)


def _clear_unstorable_activity(activity: Activity) -> None:
    if activity.HasField("since_time") and not is_storable(activity.since_time):
        activity.ClearField("since_time")
    start = "transaction_start_time"
    if activity.HasField(start) and not is_storable(activity.transaction_start_time):
        activity.ClearField(start)
