"""A session that is seen for the first time, prepared in one pass.

A large source states all of its sessions at once when a core starts. To come back to each of them,
for the ledger and then for the table, would find none of them in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sessiongate.core.collect.scopes import SourceScopes
from sessiongate.core.collect.truncation import leaves_room
from sessiongate.core.ledger.past import Description, Opening, description_of, is_long
from sessiongate.core.place import id_of
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.moments import storable_moment
from sessiongate.core.table.addresses import Remote, remote_of
from sessiongate.core.table.draft import Draft
from sessiongate.core.table.encoding import field, with_id
from sessiongate.core.table.row import Values
from sessiongate.runtime.memory import untrack
from sessiongate.v1.session_pb2 import Activity, Session

_FIELDS = Session.DESCRIPTOR.fields_by_name
# Of a session with any of these more is to be done, or it was shown before.
_LATER = frozenset(
    _FIELDS[name]
    for name in (
        *("id", "update_time", "revision", "identity_revision"),
        *("upstream_ids", "downstream_ids", "truncated", "queries"),
    )
)
_START, _ACTIVE, _ACTIVITY, _STATE, _SERVICE, _USER, _REMOTE, _PORT = (
    _FIELDS[name]
    for name in (
        *("connect_time", "last_active_time", "activity", "state", "service", "user", "remote"),
        "port",
    )
)
_DATABASE, _APPLICATION, _NATIVE_ID, _CIPHER = (
    _FIELDS[name] for name in ("database", "application", "native_id", "tls_cipher")
)


class FirstSeen(NamedTuple):
    """A session that is seen for the first time, without its id."""

    start: int  # in nanoseconds since the epoch
    piece: bytes  # the session, encoded as field 1 of a message, as its object keeps it
    size: int  # of that without the field's tag and size
    remote: Remote | None
    values: Values
    active: int | None
    since: int | None
    transaction: int | None
    description: Description

    @classmethod
    def of(
        cls,
        item: Observed,
        source: str,
        scopes: SourceScopes | None,
        limit: int,
        now: Callable[[], int],
    ) -> FirstSeen | None:
        """Prepare a session of a source, and let its object keep it encoded.

        Return None for one that has to be prepared later: it depends on others, on its id, or on
        what was known of it before, or may have to be cut to ``limit`` bytes. It began ``now``
        unless it says when. TCP links are stated if there are ``scopes``.
        """
        if item.unreadable or item.blocked_by or item.stated_id is not None:
            return None
        session = item.session
        # One call for all fields takes less time than to ask for each.
        known: dict[Any, Any] = dict(session.ListFields())
        if not _LATER.isdisjoint(known):
            return None
        stated = known.get(_START)
        if stated is None or (start := storable_moment(stated)) is None:
            start, stated, item.was_given_start = now(), session.connect_time, True
            stated.seconds, stated.nanos = divmod(start, 10**9)
        active = state = since = transaction = None
        if (time := known.get(_ACTIVE)) is not None and (active := storable_moment(time)) is None:
            session.ClearField("last_active_time")
        if (activity := known.get(_ACTIVITY)) is not None:
            state, since, transaction = _doing(activity)
        if scopes is not None:
            scopes.state(session, item.accepted, item.opened)
        session.source = source
        body = session.SerializeToString()
        size = len(body)
        if not leaves_room(size, limit):
            return None
        get = known.get
        service, stage, user, remote = get(_SERVICE, ""), get(_STATE, 0), get(_USER), get(_REMOTE)
        database, application = get(_DATABASE), get(_APPLICATION)
        described: Description = (
            *(stage, service, user, remote, get(_PORT), database, application),
            *(get(_NATIVE_ID), get(_CIPHER), None),
        )
        kept = field(1, body)
        item.keep(kept)
        found = cls(
            *(start, kept, size, None if remote is None else remote_of(remote)),
            Values(source, service, stage, user, database, application, state),
            *(active, since, transaction),
            description_of(session) if is_long(size) else described,
        )
        untrack(found)
        return found

    def opening(self, key: str) -> Opening:
        """Return the ledger's description of it."""
        return Opening(key, self.start, None, None, self.description)

    def draft(self, place: int) -> Draft:
        """Return the session at its place in the table."""
        _, piece, size, remote, values, active, since, transaction, _ = self
        ident = id_of(place)
        body = with_id(piece[-size:], ident)
        return Draft(ident, body, place, remote, values, active, since, transaction, False)


def _doing(activity: Activity) -> tuple[int | None, int | None, int | None]:
    """Return the state of an activity, and when it and its transaction began.

    Clear what nobody could take, and what the core states.
    """
    since = transaction = None
    if activity.HasField("since_time"):
        since = storable_moment(activity.since_time)
        if since is None:
            activity.ClearField("since_time")
    if activity.HasField("transaction_start_time"):
        transaction = storable_moment(activity.transaction_start_time)
        if transaction is None:
            activity.ClearField("transaction_start_time")
    activity.ClearField("blocked_by_ids")
    return activity.state or None, since, transaction
