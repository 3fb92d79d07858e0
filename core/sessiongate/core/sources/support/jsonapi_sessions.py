"""Reads sessions from a JSON:API document in the documented form.

The sessions resource is read as MaxScale documented it in 2017 and as MaxScale
24.02 sends it. Members that are not named here are ignored; an optional member
that is null counts as absent. A member that cannot be read is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from sessiongate.core.sources.base import (
    DEFAULT_MAX_SESSIONS,
    Observed,
    SourceError,
    Unreadable,
    UnreadableError,
)
from sessiongate.core.sources.support.elements import ElementBatch, Elements, More
from sessiongate.core.sources.support.faults import Faults
from sessiongate.core.sources.support.json_cursor import JsonCursor, is_unicode
from sessiongate.core.sources.support.jsonapi_activity import (
    read_activity,
    set_keys_of_blockers,
    timestamp_at,
)
from sessiongate.core.sources.support.lenient_json import JsonError
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.sources.support.serverzone import seconds_as_utc
from sessiongate.core.sources.support.session_times import Times
from sessiongate.core.sources.support.statement import statement
from sessiongate.v1.session_pb2 import BackendConnection, Query, Session
from sessiongate.v1.states import state_of

# C's asctime, in the server's local time, and the HTTP date, to which MaxScale changed
# in 23.02; each with whether it states its zone.
_DATE_FORMS = {"%a %b %d %H:%M:%S %Y": False, "%a, %d %b %Y %H:%M:%S GMT": True}

_PART = 256 * 1024  # bytes of a document in one step

# MaxScale prints server connection ids as a C int: from 2^31 they are negative.
_INT_BITS = 32
# The port that MaxScale states for a client on a Unix socket.
_NO_PORT = -1

_T = TypeVar("_T")


def read_sessions(
    content: bytes, times: Times, *, statements: bool = False, most: int = 2 * DEFAULT_MAX_SESSIONS
) -> tuple[Sequence[Observed], Sequence[Unreadable], str]:
    """Return a document's sessions in order, the unreadable ones, and why it was cut short.

    Run this in a thread; it works in steps. ``data`` may be a list of sessions or a single
    one. Raises `SourceError` for any other document.
    """
    sessions: list[Observed] = []
    unreadable = Faults()
    elements, pace = Elements(most, locates_errors=True), Pace()
    parts = (content[start : start + _PART] for start in range(0, len(content), _PART))
    try:
        for step in elements.read():
            if isinstance(step, More):
                elements.feed(next(parts, b""))
            elif isinstance(step, ElementBatch):
                for resource in step.places():
                    try:
                        sessions.append(read_session(resource, times, statements=statements))
                    except UnreadableError as error:
                        unreadable.note(str(error))
                    pace.sleep()
            pace.sleep()
    except JsonError as error:
        raise SourceError(f"not JSON: {error}") from None
    except UnreadableError as error:
        raise SourceError(str(error)) from None
    set_keys_of_blockers(sessions)
    return sessions, unreadable.all, elements.partial


def read_session(resource: JsonCursor, times: Times, *, statements: bool = False) -> Observed:
    """Read a session, without the members that cannot be read.

    Its id becomes ``native_id``; the key is the id with ``connected``, which the document
    states exactly; ``blocked_by`` has ids. ``queries`` are read only if ``statements`` is set.
    Raises `UnreadableError` if the key cannot be read.
    """
    ident = _identify(resource, "sessions")
    attributes = resource.member("attributes")
    reader = _Reader(Session(native_id=ident), times)
    start = _Start.of(attributes.member("connected"))
    reader.attempt(start.read, attributes, "connect_time")
    reader.attempt(_read_service, resource, "service")
    reader.attempt(_read_filters, resource, "filters")
    for read, fields in _ATTRIBUTES:
        reader.attempt(read, attributes, *fields)
    reader.name_application()
    if statements:
        reader.attempt(_read_queries, attributes, "queries")
    key, unreadable = f"{ident} {start.stated}", (*reader.unreadable,)
    return Observed(key, reader.session, unreadable=unreadable, blocked_by=reader.blockers)


class _Reader:
    """A session that is being read, and its unreadable members."""

    def __init__(self, session: Session, times: Times) -> None:
        self.session = session
        self.times = times
        self.unreadable: list[Unreadable] = []
        self.blockers: tuple[str, ...] = ()

    def attempt(
        self, read: Callable[[_Reader, JsonCursor], None], place: JsonCursor, *fields: str
    ) -> None:
        """Read what fills these fields of the session, or record that it cannot be read."""
        try:
            read(self, place)
        except UnreadableError as error:
            self.unreadable.append(Unreadable(str(error), fields))

    def name_application(self) -> None:
        """Take the application from the connection attributes, unless it is stated itself."""
        session = self.session
        if session.HasField("application"):
            return
        if name := session.connection_attributes.get("program_name"):
            session.application = name
        self.unreadable = [
            replace(part, fields=(*part.fields, "application"))
            if "connection_attributes" in part.fields
            else part
            for part in self.unreadable
        ]


@dataclass(frozen=True, slots=True)
class _Start:
    """The stated start of a session."""

    local: datetime
    has_zone: bool  # the zone is then UTC

    @classmethod
    def of(cls, place: JsonCursor) -> _Start:
        text = place.text()
        for form, has_zone in _DATE_FORMS.items():
            try:
                return cls(datetime.strptime(text, form), has_zone)
            except ValueError:
                continue
        raise place.wrong(
            'expected a date such as "Wed May 17 10:06:35 2017" or "Wed, 17 May 2017 10:06:35 GMT"'
        )

    @property
    def stated(self) -> int:
        """The start in a key: the same in any time zone."""
        return seconds_as_utc(self.local)

    def read(self, reader: _Reader, attributes: JsonCursor) -> None:
        place = attributes.member("connected")
        moment = self.stated if self.has_zone else reader.times.start(self.local)
        if moment is None:
            raise place.wrong(reader.times.doubt)
        reader.session.connect_time.CopyFrom(timestamp_at(place, moment))


def _read_service(reader: _Reader, resource: JsonCursor) -> None:
    data = resource.member("relationships").member("services").member("data")
    names = [_identify(place, "services") for place in data.items()]
    if len(names) != 1:
        raise data.wrong(f"expected exactly one service, found {len(names)}")
    reader.session.service = names[0]


def _read_filters(reader: _Reader, resource: JsonCursor) -> None:
    filters = resource.member("relationships").optional("filters")
    data = filters and filters.optional("data")
    if data:
        for name in _readable(data.items(), partial(_identify, kind="filters")):
            reader.session.filters.append(name)


def _read_state(reader: _Reader, attributes: JsonCursor) -> None:
    reader.session.state = state_of(attributes.member("state").text())


def _read_text(reader: _Reader, attributes: JsonCursor, *, name: str) -> None:
    if place := attributes.optional(name):
        setattr(reader.session, name, place.text())


def _read_natural(reader: _Reader, attributes: JsonCursor, *, name: str, bits: int) -> None:
    if place := attributes.optional(name):
        setattr(reader.session, name, place.natural(bits))


def _read_port(reader: _Reader, attributes: JsonCursor) -> None:
    place = attributes.optional("port")
    if place and place.value != _NO_PORT:
        reader.session.port = place.natural(16)


def _read_memory(reader: _Reader, attributes: JsonCursor) -> None:
    if (memory := attributes.optional("memory")) and (total := memory.optional("total")):
        reader.session.memory_bytes = total.natural(64)


def _read_idle(reader: _Reader, attributes: JsonCursor) -> None:
    if idle := attributes.optional("idle"):
        seconds = idle.number()
        if seconds < 0:
            raise idle.wrong("expected a number of at least 0")
        moment = timestamp_at(idle, reader.times.moment - seconds)
        reader.session.last_active_time.CopyFrom(moment)


def _read_cipher(reader: _Reader, attributes: JsonCursor) -> None:
    if (client := attributes.optional("client")) and (cipher := client.optional("cipher")):
        reader.session.tls_cipher = cipher.text()


def _read_connection_attributes(reader: _Reader, attributes: JsonCursor) -> None:
    client = attributes.optional("client")
    if client and (place := client.optional("connection_attributes")):
        found = place.object()
        # Clients choose the names, so no error repeats one.
        texts = {
            name: value
            for name, value in found.items()
            if isinstance(value, str) and is_unicode(name) and is_unicode(value)
        }
        reader.session.connection_attributes.update(texts)
        if len(texts) < len(found):
            raise place.wrong("expected Unicode strings only")


def _read_connections(reader: _Reader, attributes: JsonCursor) -> None:
    if connections := attributes.optional("connections"):
        for connection in _readable(connections.items(), _connection):
            reader.session.connections.append(connection)


def _read_queries(reader: _Reader, attributes: JsonCursor) -> None:
    if queries := attributes.optional("queries"):
        # Commands without a statement are listed too.
        for query in _readable(queries.items(), partial(_query, reader=reader)):
            if query is not None:
                reader.session.queries.append(query)


def _read_truncated(reader: _Reader, attributes: JsonCursor) -> None:
    # Stated if a sessiongate wrote the document.
    if truncated := attributes.optional("truncated"):
        names = {place.text() for place in truncated.items()}
        fields = (field.name for field in Session.DESCRIPTOR.fields)
        reader.session.truncated.extend(name for name in fields if name in names)


# How each attribute is read, and the fields of the session that it fills.
_ATTRIBUTES: Sequence[tuple[Callable[[_Reader, JsonCursor], None], Sequence[str]]] = (
    (_read_state, ("state",)),
    *((partial(_read_text, name=n), (n,)) for n in ("user", "remote", "database", "application")),
    (_read_port, ("port",)),
    (partial(_read_natural, name="io_activity", bits=64), ("io_activity",)),
    (partial(_read_natural, name="thread", bits=32), ("thread",)),
    (_read_memory, ("memory_bytes",)),
    (_read_idle, ("last_active_time",)),
    (_read_cipher, ("tls_cipher",)),
    (_read_connection_attributes, ("connection_attributes",)),
    (_read_connections, ("connections",)),
    (read_activity, ("activity",)),
    (_read_truncated, ()),
)


def _identify(resource: JsonCursor, kind: str) -> str:
    """Return a resource's id. Raises `UnreadableError` if it is of another kind."""
    if resource.member("type").text() != kind:
        raise resource.member("type").wrong(f'expected "{kind}"')
    ident = resource.member("id").text()
    if not ident:
        raise resource.member("id").wrong("expected a string that is not empty")
    return ident


def _readable(places: Iterable[JsonCursor], read: Callable[[JsonCursor], _T]) -> Iterator[_T]:
    """Yield what is read at each place; then raise the first `UnreadableError`, if any."""
    fault: UnreadableError | None = None
    for place in places:
        try:
            yield read(place)
        except UnreadableError as error:
            fault = fault or error
    if fault:
        raise fault


def _connection(place: JsonCursor) -> BackendConnection:
    connection = BackendConnection(server=place.member("server").text())
    if number := place.optional("connection_id"):
        value = number.value
        if type(value) is int and -(1 << _INT_BITS - 1) <= value < 0:
            connection.connection_id = value + (1 << _INT_BITS)
        else:
            connection.connection_id = number.natural(64, or_digits=True)
    if cipher := place.optional("cipher"):
        connection.tls_cipher = cipher.text()
    return connection


def _query(place: JsonCursor, reader: _Reader) -> Query | None:
    text = place.optional("statement")
    if text is None:
        return None
    query = statement(text.text())
    if (truncated := place.optional("truncated")) and truncated.value is True:
        query.truncated = True  # stated if a sessiongate wrote the document
    for name, time in (("received", query.receive_time), ("completed", query.complete_time)):
        if stated := place.optional(name):
            if (moment := _iso_date(stated, reader)) is not None:
                time.CopyFrom(timestamp_at(stated, moment))
            else:
                # Only the time is missing: no earlier statement needs to be kept.
                reader.unreadable.append(Unreadable(str(stated.wrong(reader.times.doubt))))
    return query


def _iso_date(place: JsonCursor, reader: _Reader) -> float | None:
    """Read an ISO 8601 date; return None if it is a local time that is uncertain."""
    text = place.text()
    try:
        date = datetime.fromisoformat(text)
        if date.tzinfo is not None:
            return date.timestamp()
    except (ValueError, OverflowError):
        raise place.wrong("expected an ISO 8601 date") from None
    session = reader.session
    start = session.connect_time.seconds if session.HasField("connect_time") else -math.inf
    return reader.times.of_statement(text, date, start)
