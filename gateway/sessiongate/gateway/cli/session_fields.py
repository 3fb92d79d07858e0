"""The fields of a session, by REST's attribute names: columns, orders, cells of CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.gateway.cli.texts import duration_text, joined, local_time_text, plain, time_text
from sessiongate.gateway.representation.session import is_idle, rfc3339
from sessiongate.runtime.suggestion import did_you_mean, quoted_name
from sessiongate.v1.activities import ACTIVITY_WORDS
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.states import words_of
from sessiongate.v1.times import seconds_of

# A text, a number, a moment, or several texts or numbers; None if it is not known.
FieldValue: TypeAlias = "str | int | Timestamp | Sequence[str | int] | None"

_T = TypeVar("_T")
_U = TypeVar("_U")


@dataclass(frozen=True)
class Field(Generic[_T]):
    """One thing that may be known about a session, or about a past one."""

    name: str  # in REST, nested by dots
    title: str  # of its column
    read: Callable[[_T], FieldValue]
    is_age: bool = False  # a table shows how long ago a moment was
    is_local: bool = False  # a table shows a moment in local time
    is_right: bool = False  # flush right
    least: int | None = None  # cells of a terminal that its column is never narrower than

    def of(self, session_of: Callable[[_U], _T]) -> Field[_U]:
        """Return this field of what has a session."""
        return Field(
            self.name,
            self.title,
            lambda owner: self.read(session_of(owner)),
            is_right=self.is_right,
            least=self.least,
        )

    def cell(self, session: _T, now: float | None = None, room: int | None = None) -> str:
        """Return what a table shows at a time in seconds since the epoch.

        Without ``now``, return what a line shows that is read later: moments, not durations.
        With ``room``, return no more characters: clients send thousands, even without width.
        """
        value = self.read(session)
        if value is None:
            return ""
        if isinstance(value, str):
            return plain(value[:room])
        if isinstance(value, Timestamp):
            if self.is_local:
                return local_time_text(value, None if room is None else now)
            if now is None or not self.is_age:
                return time_text(value)
            return duration_text(now - seconds_of(value))
        return plain(joined(value)[:room])

    def value(self, session: _T, now: float) -> str | float:
        """Return what a program reads: a moment in full, an idle time in seconds, else ""."""
        value = self.read(session)
        if isinstance(value, Timestamp):
            if self.name == "idle":
                return max(0.0, round(now - seconds_of(value), 1))
            return rfc3339(value)
        if value is None or isinstance(value, int):
            return "" if value is None else value
        return joined(value)

    def sort_key(self, session: _T) -> tuple[bool, Any]:
        """Return what sessions are sorted by. Those without a value come last, as in the core."""
        value = self.read(session)
        if isinstance(value, Timestamp):
            value = value.ToNanoseconds()
        if self.name == "idle":  # which grows as its moment recedes
            return value is not None, None if value is None else -value  # type: ignore[operator] # a number
        return value is None, value


SessionField: TypeAlias = Field[Session]


def _text(name: str, title: str, least: int = 8) -> SessionField:
    """Return an optional field of the contract that is a text."""

    def read(session: Session) -> str | None:
        return getattr(session, name) or None

    return SessionField(name, title, read, least=least)


def _number(name: str, title: str, field: str) -> SessionField:
    def read(session: Session) -> int | None:
        return getattr(session, field) if session.HasField(field) else None

    return SessionField(name, title, read, is_right=True)


def _list(name: str, title: str, read: Callable[[Session], Iterable[str | int]]) -> SessionField:
    return SessionField(name, title, lambda session: [*read(session)] or None, least=8)


def _peer(session: Session) -> str | None:
    remote = session.remote
    if not session.HasField("port"):
        return remote or None
    return f"[{remote}]:{session.port}" if ":" in remote else f"{remote}:{session.port}"


def _last_active(session: Session) -> Timestamp | None:
    return session.last_active_time if is_idle(session) else None


def _since(session: Session) -> Timestamp | None:
    activity = session.activity
    return activity.since_time if activity.HasField("since_time") else None


def _transaction(session: Session) -> Timestamp | None:
    activity = session.activity
    return activity.transaction_start_time if activity.HasField("transaction_start_time") else None


def _server(session: Session) -> Iterable[str]:
    return [backend.server for backend in session.connections]


def _statements(session: Session) -> Iterable[str]:
    return [query.statement for query in session.queries]


_FIELDS = (
    SessionField("id", "ID", lambda session: session.id, is_right=True),
    SessionField("state", "State", lambda session: words_of(session.state), least=12),
    _text("user", "User"),
    SessionField("peer", "Client", _peer, least=17),
    _text("remote", "Address", 12),
    _number("port", "Port", "port"),
    _text("database", "Database"),
    _text("application", "Application"),
    SessionField(
        "activity.state",
        "Activity",
        lambda session: ACTIVITY_WORDS.get(session.activity.state),
        least=12,
    ),
    SessionField("activity.since", "For", _since, is_age=True, is_right=True),
    SessionField(
        "activity.native", "Native activity", lambda session: session.activity.native or None
    ),
    SessionField("activity.wait", "Wait", lambda session: session.activity.wait or None, least=8),
    SessionField(
        "activity.transaction_started",
        "Transaction for",
        _transaction,
        is_age=True,
        is_right=True,
    ),
    _list("activity.blocked_by", "Blocker", lambda session: session.activity.blocked_by_ids),
    _text("service", "Service"),
    SessionField("connected", "Connected", lambda session: session.connect_time),
    SessionField("idle", "Idle", _last_active, is_age=True, is_right=True),
    _text("source", "Source"),
    _text("native_id", "Native ID"),
    SessionField("client.cipher", "Cipher", lambda session: session.tls_cipher or None, least=8),
    _list("connections", "Servers", _server),
    _list("filters", "Filters", lambda session: session.filters),
    _list("queries", "Statements", _statements),
    _number("memory.total", "Memory", "memory_bytes"),
    _number("io_activity", "I/O", "io_activity"),
    _number("thread", "Thread", "thread"),
    _list("upstream", "Upstream", lambda session: session.upstream_ids),
    _list("downstream", "Downstream", lambda session: session.downstream_ids),
    _list("truncated", "Truncated", lambda session: session.truncated),
)
SESSION_FIELDS = {field.name: field for field in _FIELDS}
# Attributes that clients choose the names of.
_CHOSEN = "client.connection_attributes."


def session_field(name: str) -> SessionField:
    """Return a field by its name. Raises `ValueError` with what is allowed."""
    if name in SESSION_FIELDS:
        return SESSION_FIELDS[name]
    if chosen := name.removeprefix(_CHOSEN) if name.startswith(_CHOSEN) else "":
        return SessionField(
            name, chosen, lambda session: session.connection_attributes.get(chosen), least=8
        )
    hint = did_you_mean(name, SESSION_FIELDS)
    if not hint:
        hint = f"; allowed: {', '.join(SESSION_FIELDS)}, {_CHOSEN}NAME"
    raise ValueError(f"no attribute is called {quoted_name(name)}{hint}")


def sort_by(
    sessions: Iterable[_T], keys: Sequence[str], field_of: Callable[[str], Field[_T]]
) -> list[_T]:
    """Return sessions sorted by these attributes; ``-`` before one sorts in descending order."""
    found = [*sessions]
    for key in reversed(keys):  # each sorts what is equal by those before it
        field = field_of(key.removeprefix("-"))
        found.sort(key=field.sort_key, reverse=key.startswith("-"))
    return found
