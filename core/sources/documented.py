"""The documented form of sessions, read: a JSON:API document into observed sessions.

Understands the sessions resource as MaxScale documented it in 2017 and as
MaxScale 24.02 answers. Members that are not named here are ignored; an optional
member that is null counts as absent.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from core.sources.base import Observed
from core.sources.place import Place, shown
from core.sources.statement import statement
from sessiongate.states import state_of
from sessiongate.v1.session_pb2 import BackendConnection, Query, Session

# C's asctime, and the date of HTTP, which MaxScale changed to later. Both UTC.
_DATE_FORMS = ("%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S GMT")

_TEXTS = ("user", "remote", "database", "application")
_NATURALS = {"port": 16, "io_activity": 64, "thread": 32}  # and how many bits they have


def read_sessions(
    document: object, moment: datetime, *, statements: bool = False
) -> list[Observed]:
    """The sessions of a parsed JSON document, in its order.

    ``data`` may be a list of sessions or a single one. Each one's id is its
    ``native_id``; with ``connected``, which the document states exactly, it is
    the key. ``moment``, an aware datetime, is when the document was true:
    ``idle`` counts back from it. ``queries`` are read only where ``statements``
    is set.

    Raises `SourceError`, which names the place as a JSON Pointer and repeats no
    statement.
    """
    data = Place(document).member("data")
    if not isinstance(data.value, list | dict):
        raise data.expected("an array or an object")
    resources = data.items() if isinstance(data.value, list) else [data]
    places: dict[str, Place] = {}
    sessions = []
    for resource in resources:
        session = _session(resource, moment, statements)
        ident = session.native_id
        if ident in places:
            earlier = places[ident].pointer
            raise resource.member("id").wrong(f'"{shown(ident)}" is also the id of {earlier}')
        places[ident] = resource
        sessions.append(Observed(f"{ident} {session.connect_time.seconds}", session))
    return sessions


def _identify(resource: Place, kind: str) -> str:
    """A resource's id, where it is of that kind."""
    if resource.member("type").text() != kind:
        raise resource.member("type").wrong(f'expected "{kind}"')
    ident = resource.member("id").text()
    if not ident:
        raise resource.member("id").wrong("empty")
    return ident


def _session(resource: Place, moment: datetime, statements: bool) -> Session:
    relationships = resource.member("relationships")
    attributes = resource.member("attributes")
    session = Session(
        native_id=_identify(resource, "sessions"),
        service=_service(relationships),
        filters=_filters(relationships),
        state=state_of(attributes.member("state").text()),
    )
    session.connect_time.FromDatetime(_connected(attributes.member("connected")))
    for name in _TEXTS:
        if place := attributes.optional(name):
            setattr(session, name, place.text())
    for name, bits in _NATURALS.items():
        if place := attributes.optional(name):
            setattr(session, name, place.natural(bits))
    if (memory := attributes.optional("memory")) and (total := memory.optional("total")):
        session.memory_bytes = total.natural(64)
    if idle := attributes.optional("idle"):
        session.last_active_time.FromDatetime(_last_active(idle, moment))
    if client := attributes.optional("client"):
        _read_client(client, session)
    if connections := attributes.optional("connections"):
        session.connections.extend(_connection(place) for place in connections.items())
    if statements and (queries := attributes.optional("queries")):
        # Commands that carry no statement are listed too.
        session.queries.extend(
            _query(place) for place in queries.items() if place.optional("statement")
        )
    return session


def _service(relationships: Place) -> str:
    data = relationships.member("services").member("data")
    names = [_identify(place, "services") for place in data.items()]
    if len(names) != 1:
        raise data.wrong(f"expected exactly one service, found {len(names)}")
    return names[0]


def _filters(relationships: Place) -> list[str]:
    filters = relationships.optional("filters")
    data = filters and filters.optional("data")
    return [_identify(place, "filters") for place in data.items()] if data else []


def _connected(place: Place) -> datetime:
    text = place.text()
    for form in _DATE_FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise place.wrong(
        f'"{shown(text)}" is not a date such as '
        '"Wed May 17 10:06:35 2017" or "Wed, 17 May 2017 10:06:35 GMT"'
    )


def _last_active(idle: Place, moment: datetime) -> datetime:
    seconds = idle.number()
    try:
        if seconds >= 0:
            return moment - timedelta(seconds=seconds)
    except OverflowError:
        pass
    raise idle.wrong(f"{seconds:g} is not a number of seconds since the session was active")


def _read_client(client: Place, session: Session) -> None:
    if cipher := client.optional("cipher"):
        session.tls_cipher = cipher.text()
    if attributes := client.optional("connection_attributes"):
        for name, value in attributes.members():
            session.connection_attributes[name] = value.text()


def _connection(place: Place) -> BackendConnection:
    connection = BackendConnection(server=place.member("server").text())
    if number := place.optional("connection_id"):
        connection.connection_id = number.natural(64, or_digits=True)
    if cipher := place.optional("cipher"):
        connection.tls_cipher = cipher.text()
    return connection


def _query(place: Place) -> Query:
    query = statement(place.member("statement").text())
    if (truncated := place.optional("truncated")) and truncated.value is True:
        query.truncated = True  # by a sessiongate that wrote the document
    query.receive_time.FromDatetime(_iso_date(place.member("received")))
    if completed := place.optional("completed"):
        query.complete_time.FromDatetime(_iso_date(completed))
    return query


def _iso_date(place: Place) -> datetime:
    """A date of ISO 8601. MaxScale writes its local time and no zone: read as UTC."""
    try:
        date = datetime.fromisoformat(place.text())
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise place.wrong("expected a date of ISO 8601") from None
