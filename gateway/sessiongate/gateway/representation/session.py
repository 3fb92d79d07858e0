"""Sessions as resource objects: the documented representation.

Members are in the order of the reference documentation; further attributes follow
``connected``, each only if it is known.
"""

from __future__ import annotations

import time
from datetime import UTC
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.v1.activities import ACTIVITY_WORDS, WORKING
from sessiongate.v1.session_pb2 import Activity, BackendConnection, Query, Session
from sessiongate.v1.states import words_of

# The only attribute that the clock alone changes. A session that is doing something has none.
IDLE = "/attributes/idle"


def api_url(base: str) -> str:
    """Return the URL of the API itself. ``base`` starts every URL and has no trailing slash."""
    return f"{base}/v1/"


def sessions_url(base: str) -> str:
    """Return the URL of the collection."""
    return f"{base}/v1/sessions/"


def session_url(base: str, ident: int) -> str:
    """Return the URL of one session."""
    return f"{base}/v1/sessions/{ident}"


def session_resource(session: Session, base: str, now: float) -> dict[str, Any]:
    """Return one session's resource object; ``now`` is in seconds since the epoch."""
    return {
        "id": str(session.id),
        "type": "sessions",
        "relationships": _relationships(session, base),
        "attributes": _attributes(session, now),
        "links": {"self": session_url(base, session.id)},
    }


def service_names(session: Session) -> list[str]:
    """Return the names of a session's services: one, or none if it could not be read."""
    return [session.service] if session.service else []


def _relationships(session: Session, base: str) -> dict[str, Any]:
    relationships: dict[str, Any] = {
        "services": {
            "links": {"self": f"{base}/v1/services/"},
            "data": [{"id": name, "type": "services"} for name in service_names(session)],
        }
    }
    if session.filters:
        filters = [{"id": name, "type": "filters"} for name in session.filters]
        relationships["filters"] = {"data": filters}
    for name, idents in (
        ("upstream", session.upstream_ids),
        ("downstream", session.downstream_ids),
    ):
        if idents:
            data = [{"id": str(ident), "type": "sessions"} for ident in idents]
            relationships[name] = {"data": data}
    return relationships


def _attributes(session: Session, now: float) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "state": words_of(session.state),
        "connected": time.asctime(time.gmtime(session.connect_time.seconds)),
    }
    _add(attributes, session, "user", "remote", "port", "database")
    if session.HasField("activity"):
        attributes["activity"] = _activity(session.activity)
    if is_idle(session):
        active = session.last_active_time
        idle = now - active.seconds - active.nanos / 1e9
        attributes["idle"] = max(0.0, round(idle, 1))
    stated = (*session.known_empty, *session.truncated)  # shown even as an empty list
    if session.connections or "connections" in stated:
        attributes["connections"] = [_connection(backend) for backend in session.connections]
    if client := _client(session):
        attributes["client"] = client
    if session.queries or "queries" in stated:
        attributes["queries"] = [_query(query) for query in session.queries]
    if session.HasField("memory_bytes"):
        attributes["memory"] = {"total": session.memory_bytes}
    _add(attributes, session, "io_activity", "thread", "application")
    if session.HasField("native_id"):
        attributes["source"] = session.source
        attributes["native_id"] = session.native_id
    if session.truncated:
        attributes["truncated"] = [*session.truncated]
    return attributes


def is_idle(session: Session) -> bool:
    """Return whether a session has an idle time."""
    return session.HasField("last_active_time") and session.activity.state not in WORKING


def _activity(activity: Activity) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if activity.state in ACTIVITY_WORDS:  # else this version does not know it
        members["state"] = ACTIVITY_WORDS[activity.state]
    if activity.HasField("since_time"):
        members["since"] = rfc3339(activity.since_time)
    if activity.native:
        members["native"] = activity.native
    _add(members, activity, "wait")
    if activity.HasField("transaction_start_time"):
        members["transaction_started"] = rfc3339(activity.transaction_start_time)
    if activity.blocked_by_ids:
        members["blocked_by"] = [str(ident) for ident in activity.blocked_by_ids]
    return members


def _add(attributes: dict[str, Any], message: Session | Activity, *names: Any) -> None:
    """Add the fields that a message has."""
    for name in names:
        if message.HasField(name):
            attributes[name] = getattr(message, name)


def _connection(backend: BackendConnection) -> dict[str, Any]:
    connection: dict[str, Any] = {"server": backend.server}
    if backend.HasField("connection_id"):
        connection["connection_id"] = backend.connection_id
    if backend.HasField("tls_cipher"):
        connection["cipher"] = backend.tls_cipher
    return connection


def _client(session: Session) -> dict[str, Any]:
    client: dict[str, Any] = {}
    if session.HasField("tls_cipher"):
        client["cipher"] = session.tls_cipher
    if session.connection_attributes:
        # A protobuf map has no order.
        client["connection_attributes"] = dict(sorted(session.connection_attributes.items()))
    return client


def _query(query: Query) -> dict[str, Any]:
    members: dict[str, Any] = {"statement": query.statement}
    if query.HasField("receive_time"):
        members["received"] = rfc3339(query.receive_time)
    if query.HasField("complete_time"):
        members["completed"] = rfc3339(query.complete_time)
    if query.truncated:
        members["truncated"] = True
    return members


def rfc3339(time: Timestamp) -> str:
    """Format a time as in RFC 3339, to the millisecond, in UTC: 2017-05-17T10:06:35.000Z."""
    return time.ToDatetime(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
