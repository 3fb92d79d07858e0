"""The fields of a past session, by REST's attribute names: columns, orders, cells of CSV."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.gateway.cli.session_fields import SESSION_FIELDS, Field
from sessiongate.gateway.cli.texts import duration_text
from sessiongate.gateway.representation.past_session import END_REASONS
from sessiongate.runtime.suggestion import did_you_mean, quoted_name
from sessiongate.v1.history_service_pb2 import PastSession

# Attributes that are kept of a session when it ends.
_KEPT = (
    *("id", "state", "user", "peer", "remote", "port", "database", "application", "service"),
    *("source", "native_id", "client.cipher", "upstream", "downstream", "truncated"),
)


def _moment(name: str, title: str, member: str) -> Field[PastSession]:
    def read(past: PastSession) -> Timestamp | None:
        return getattr(past, member) if past.HasField(member) else None

    return Field(name, title, read, is_local=True, is_right=True)


def _longest(past: PastSession) -> str | None:
    if not past.HasField("longest_transaction"):
        return None
    return duration_text(past.longest_transaction.seconds)


def _kept(name: str) -> Field[PastSession]:
    return SESSION_FIELDS[name].of(attrgetter("session"))


_FIELDS: Sequence[Field[PastSession]] = (
    *map(_kept, _KEPT),
    Field(
        "connected",
        "Connected",
        lambda past: past.session.connect_time,
        is_local=True,
        is_right=True,
    ),
    _moment("ended", "Ended", "end_time"),
    Field("end_reason", "Reason", lambda past: END_REASONS.get(past.end_reason)),
    _moment("end_from", "Last seen", "last_seen_time"),
    Field("ended_by", "Ended by", lambda past: past.ended_by or None, least=8),
    Field("longest_transaction", "Longest transaction", _longest, is_right=True),
)
PAST_FIELDS = {field.name: field for field in _FIELDS}


def past_field(name: str) -> Field[PastSession]:
    """Return a field by its name. Raises `ValueError` with what is allowed."""
    if name in PAST_FIELDS:
        return PAST_FIELDS[name]
    if name in SESSION_FIELDS or name.startswith("client.connection_attributes."):
        raise ValueError(
            f"{quoted_name(name)} is not kept of past sessions; `sessiongate list` shows it of"
            " those that are connected now"
        )
    hint = did_you_mean(name, PAST_FIELDS) or f"; allowed: {', '.join(PAST_FIELDS)}"
    raise ValueError(f"no attribute of past sessions is called {quoted_name(name)}{hint}")
