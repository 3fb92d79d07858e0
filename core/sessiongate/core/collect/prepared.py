"""Sessions that are prepared before they have ids, by a core that stands by.

When it becomes active, only the id and the start of each are to be added.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from google.protobuf.message import Message

from sessiongate.core.collect.scopes import SourceScopes
from sessiongate.core.collect.truncation import leaves_room, link
from sessiongate.core.place import id_of
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.moments import is_storable
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.table.addresses import Remote
from sessiongate.core.table.draft import Draft
from sessiongate.core.table.encoding import SplitBody, piece
from sessiongate.core.table.row import Values
from sessiongate.runtime.memory import untrack
from sessiongate.v1.session_pb2 import Session

# By the object that a source states as long as nothing about the session changes.
PreparedSessions: TypeAlias = dict[Observed, "PreparedSession"]


class PreparedSession(NamedTuple):
    """A session that depends on no other one, without its id and its start."""

    body: SplitBody
    remote: Remote | None
    values: Values
    active: int | None
    since: int | None
    transaction: int | None

    def draft(self, place: int) -> Draft:
        """Return the session with the id and the start that its place (`core.place`) states."""
        body, remote, values, active, since, transaction = self
        encoded = body.at(place)
        times = active, since, transaction
        return Draft(id_of(place), encoded, place, remote, values, *times, is_blocked=False)


def prepared_session(
    item: Observed,
    source: str,
    max_session: int,
    scopes: SourceScopes | None,
    shared: dict[Values, Values],
) -> PreparedSession | None:
    """Prepare an observed session of a source, and let the object keep it encoded.

    Return None for one that has to be prepared later: it depends on others, on what was known
    of it before, or is so large that it may have to be cut. TCP links are stated, for fronts, if
    there are ``scopes``. ``shared`` are values of other sessions, to be used again.
    """
    if item.unreadable or item.blocked_by:
        return None
    stated = item.session
    session = Session()
    session.CopyFrom(stated)
    session.source = source
    clear_unstorable(session)
    if scopes is not None:
        scopes.state(session, item.accepted, item.opened)
    if not leaves_room(session, max_session):
        return None
    if session.HasField("activity"):
        session.activity.ClearField("blocked_by_ids")
    link(session, (), (), max_session)
    session.ClearField("id")
    session.ClearField("connect_time")
    draft = Draft.of(session)
    values = shared.setdefault(draft.values, draft.values)
    times = draft.active, draft.since, draft.transaction
    found = PreparedSession(SplitBody.of(session), draft.remote, values, *times)
    untrack(found)
    untrack(found.body)
    item.keep(piece(stated))
    return found


async def forget_prepared(sessions: PreparedSessions, pace: Pace) -> None:
    """Forget prepared sessions; to free all of them in one turn could take long."""
    while sessions:
        sessions.popitem()
        await pace.pause()


def clear_unstorable(session: Session) -> None:
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
