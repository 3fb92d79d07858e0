"""The activities of the sessions of a JSON:API document: as a sessiongate states it, or a MaxScale.

A sessiongate names those that block a session by their ids in the document; keys are made of
them once all sessions are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.json_cursor import JsonCursor
from sessiongate.core.sources.support.moments import timestamp
from sessiongate.core.sources.support.runs import Active
from sessiongate.v1 import session_pb2
from sessiongate.v1.activities import activity_of
from sessiongate.v1.session_pb2 import Activity, Session


class ActivityReader(Protocol):
    """A session that is being read, and the ids of those that it waits for."""

    session: Session
    blockers: tuple[str, ...]


def read_activity(reader: ActivityReader, attributes: JsonCursor) -> None:
    """Read the attribute ``activity``, if there is one.

    Raises `UnreadableError`, and then leaves the session without an activity.
    """
    place = attributes.optional("activity")
    if place is None:
        return
    activity = Activity()
    state = activity_of(place.member("state").text())
    if state is None:
        raise place.member("state").wrong("expected the word for an activity")
    activity.state = state
    if native := place.optional("native"):
        activity.native = native.text()
    if wait := place.optional("wait"):
        activity.wait = wait.text()
    for name, field in (("since", "since_time"), ("transaction_started", "transaction_start_time")):
        if time := place.optional(name):
            getattr(activity, field).CopyFrom(_moment(time))
    blockers = place.optional("blocked_by")
    if blockers:
        reader.blockers = tuple(ident.text() for ident in blockers.items())
    reader.session.activity.CopyFrom(activity)


def _moment(place: JsonCursor) -> Timestamp:
    """Read an ISO 8601 date with its zone."""
    text = place.text()
    try:
        date = datetime.fromisoformat(text)
        if date.tzinfo is not None:
            return timestamp_at(place, date.timestamp())
    except (ValueError, OverflowError):
        pass
    raise place.wrong("expected an ISO 8601 date with its zone")


def timestamp_at(place: JsonCursor, moment: float) -> Timestamp:
    """Convert seconds since the epoch, which this place states. Raises `UnreadableError`."""
    try:
        return timestamp(round(moment * 1e6) * 1000)
    except (ValueError, OverflowError):
        raise place.wrong("expected a time from the years 1678 to 2261") from None


def set_keys_of_blockers(items: Sequence[Observed]) -> None:
    """Replace the ids in ``blocked_by`` of a document's sessions, by which they are known there."""
    if not any(item.blocked_by for item in items):
        return
    counts = Counter(item.session.native_id for item in items)
    keys = {
        item.session.native_id: item.key for item in items if counts[item.session.native_id] == 1
    }
    for item in items:
        item.blocked_by = tuple(keys[ident] for ident in item.blocked_by if ident in keys)


def infer_activity(session: Session, attributes: Mapping[str, Any], active: Active) -> None:
    """Set what a session of a MaxScale is doing, by its idle time and its statements.

    Versions that state how long a session has existed say that it has been idle for 0 seconds
    while a statement runs, or if it sent or received something in the last tenth of a second.
    """
    if session.state != session_pb2.SESSION_STATE_STARTED or attributes.get("activity") is not None:
        return
    queries = attributes.get("queries")
    is_running = isinstance(queries, list) and any(
        isinstance(query, dict) and query.get("statement") and query.get("completed") is None
        for query in queries
    )
    session.activity.state = (
        session_pb2.ACTIVITY_STATE_ACTIVE
        if is_running or active.is_busy
        else session_pb2.ACTIVITY_STATE_IDLE
    )
    session.activity.since_time.CopyFrom(session.last_active_time)
