"""Truncation of sessions and texts that are too long, so that none displaces another.

The same input is always cut in the same way, so that what is unchanged stays unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from operator import itemgetter
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.v1.session_pb2 import Activity, BackendConnection, Query, Session
from sessiongate.v1.session_service_pb2 import ServiceStatus

_T = TypeVar("_T")

TEXT_BYTES = 4096  # of each text, in a session that is too large even without its lists
_STATUS_BYTES = 1024  # of a text about the state of a source
# A cut session leaves this share of the limit to links and the table's additions.
_SHARE = 16
_LINKS = ("upstream_ids", "downstream_ids")
_ID_BYTES = 10  # of a link, at most
_OF_TABLE = ("revision", "identity_revision", "update_time")  # it sets them again
# Of those, the lists of links without their ids, and their names if cut.
_ADDED_BYTES = 96
# Of the status of all sources' services: one message contains all of it.
_SERVICES_BYTES = 2 * 1024 * 1024
_LEAST_BYTES = 7  # of a connection attribute
# Fields that sources fill with text. Not `source`, which the configuration bounds.
_TEXTS = ("native_id", "service", "user", "remote", "database", "tls_cipher", "application")
_FIELDS: Sequence[str] = tuple(field.name for field in Session.DESCRIPTOR.fields)


def truncate(session: Session, limit: int) -> Session:
    """Return the session if it leaves room for links within ``limit`` bytes, else a cut copy.

    What is cut, in this order and as far as needed: the oldest statements, the largest
    connection attributes, the last backend connections, texts above `TEXT_BYTES`, the last
    filters, and texts above half of that and so on. Its ``truncated`` names the fields. The
    copy has no links. ``limit`` is at least 8192.
    """
    if not is_cut(session.ByteSize(), limit):
        return session
    most = limit - limit // _SHARE
    # Build it in the opposite order, so that omitted parts take no time.
    cut = _without_lists(session)
    _name(cut, (*_TEXTS, *_ADDING, "filters", *session.truncated))  # room for all of them
    shortened = _shorten(cut, most)
    names = shortened.union(session.truncated)
    whole = not shortened
    for name, add in _ADDING.items():
        whole = add(session, cut, most - cut.ByteSize() if whole else 0)
        if not whole and getattr(session, name):
            names.add(name)
    _name(cut, names)
    return cut


def is_cut(size: int, limit: int) -> bool:
    """Return whether `truncate` cuts a session of this size."""
    return size > limit - limit // _SHARE


def link(session: Session, upstream: Sequence[int], downstream: Sequence[int], limit: int) -> None:
    """Set a session's links, the lowest ids first, as many as fit within ``limit``."""
    session.ClearField("upstream_ids")
    session.ClearField("downstream_ids")
    truncated = session.truncated
    if truncated and any(name in _LINKS for name in truncated):
        _name(session, set(truncated).difference(_LINKS))
    if not upstream and not downstream:
        return
    for name in _OF_TABLE:
        session.ClearField(name)
    room = max(0, limit - session.ByteSize() - _ADDED_BYTES) // _ID_BYTES
    session.upstream_ids.extend(upstream[:room])
    room -= len(session.upstream_ids)
    session.downstream_ids.extend(downstream[:room])
    lacking = {
        name
        for name, idents in zip(_LINKS, (upstream, downstream), strict=True)
        if len(getattr(session, name)) < len(idents)
    }
    if lacking:
        _name(session, lacking.union(session.truncated))


def fitting_services(services: Iterable[ServiceStatus], sources: int) -> tuple[ServiceStatus, ...]:
    """Return the first services, as many as each of ``sources`` may report."""
    return tuple(_fitting(services, ServiceStatus.ByteSize, _SERVICES_BYTES // sources))


def printable(text: str) -> str:
    """Make a source's text valid for the contract; cut it if it is too long."""
    return _cut(text.encode(errors="backslashreplace").decode(), _STATUS_BYTES)


def _name(session: Session, names: Iterable[str]) -> None:
    """Set ``truncated`` to these fields, in their order."""
    del session.truncated[:]
    session.truncated.extend(name for name in _FIELDS if name in names)


def _cut(text: str, most: int) -> str:
    """Return the beginning of a text: whole characters in at most ``most`` bytes."""
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[:most].decode(errors="ignore")


def _without_lists(session: Session) -> Session:
    """Copy a session without its long lists, links and unknown fields."""
    copy = Session()
    copy.known_empty.extend(name for name in _ADDING if name in session.known_empty)
    copy.filters.extend(session.filters)
    for field, value in session.ListFields():
        if isinstance(value, Timestamp):
            getattr(copy, field.name).CopyFrom(value)
        elif isinstance(value, Activity):
            copy.activity.CopyFrom(value)
        elif isinstance(value, str | int):
            setattr(copy, field.name, value)
    return copy


def _shorten(cut: Session, most: int) -> set[str]:
    """Cut texts and filters until the session fits; return the names of the cut fields."""
    names: set[str] = set()
    text_bytes = TEXT_BYTES
    while cut.ByteSize() > most and text_bytes:
        for name in _TEXTS:
            text = getattr(cut, name)
            if (shorter := _cut(text, text_bytes)) != text:
                setattr(cut, name, shorter)
                names.add(name)
        if cut.HasField("activity") and _shorten_activity(cut.activity, text_bytes):
            names.add("activity")
        filters = [*cut.filters]
        del cut.filters[:]
        room = most - cut.ByteSize()
        shorter_filters = (_cut(name, text_bytes) for name in filters)
        cut.filters.extend(_fitting(shorter_filters, lambda name: len(name.encode()), room))
        if cut.filters != filters:
            names.add("filters")
        text_bytes //= 2
    return names


def _shorten_activity(activity: Activity, text_bytes: int) -> bool:
    """Cut the texts of an activity; return whether one was longer."""
    is_cut = False
    for name in ("native", "wait"):
        text = getattr(activity, name)
        if (shorter := _cut(text, text_bytes)) != text:
            setattr(activity, name, shorter)
            is_cut = True
    return is_cut


def _add_connections(session: Session, cut: Session, room: int) -> bool:
    """Add the first backend connections that fit; return whether these are all."""
    cut.connections.extend(_fitting(session.connections, BackendConnection.ByteSize, room))
    return len(cut.connections) == len(session.connections)


def _add_attributes(session: Session, cut: Session, room: int) -> bool:
    """Add the smallest connection attributes that fit; return whether these are all."""
    attributes = session.connection_attributes
    sizes = (
        (_framed(len(name.encode())) + _framed(len(value.encode())) - 2, name)
        for name, value in attributes.items()
    )
    smallest = nsmallest(room // _LEAST_BYTES, sizes)  # more cannot fit
    for _, name in _fitting(smallest, itemgetter(0), room):
        cut.connection_attributes[name] = attributes[name]
    return len(cut.connection_attributes) == len(attributes)


def _add_queries(session: Session, cut: Session, room: int) -> bool:
    """Add the latest statements that fit; return whether these are all."""
    kept = [*_fitting(reversed(session.queries), Query.ByteSize, room)]
    cut.queries.extend(reversed(kept))
    return len(kept) == len(session.queries)


def _fitting(elements: Iterable[_T], size: Callable[[_T], int], room: int) -> Iterator[_T]:
    """Yield the first elements, as many as fit."""
    for element in elements:
        room -= _framed(size(element))
        if room < 0:
            return
        yield element


def _framed(size: int) -> int:
    """Return the size of an element with its length prefix and a tag of two bytes."""
    return 2 + max(1, (size.bit_length() + 6) // 7) + size


# Fields that are added to a cut session, in order: what is cut first is added last.
_ADDING: Mapping[str, Callable[[Session, Session, int], bool]] = {
    "connections": _add_connections,
    "connection_attributes": _add_attributes,
    "queries": _add_queries,
}
