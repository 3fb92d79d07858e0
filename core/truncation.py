"""Sessions and texts, cut where they are longer than may be: one never costs another its place.

The same input is always cut in the same way, so that what is unchanged stays unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sessiongate.v1.session_pb2 import Session

TEXT_BYTES = 4096  # of each text of a session that is too large without its lists
_STATUS_BYTES = 1024  # of a text that says how a source is
# A session that is cut leaves this share of the limit for its links and what the table adds.
_SHARE = 16
_LINKS = ("upstream_ids", "downstream_ids")
_ID_BYTES = 10  # of a link, at most
# Of a revision, an update_time, the lists of links around their ids, and their names if cut.
_ADDED_BYTES = 80
# Of an element of a list beside its content, at least, and of a map's.
_AROUND, _AROUND_PAIR = 3, 7
# What sources fill with text. Not `source`, which the configuration bounds.
_TEXTS = ("native_id", "service", "user", "remote", "database", "tls_cipher", "application")
_LISTS = ("connections", "queries")
_FIELDS: Sequence[str] = tuple(field.name for field in Session.DESCRIPTOR.fields)


def bounded(session: Session, limit: int) -> Session:
    """The session if it leaves room for links within ``limit`` bytes, else a cut copy.

    Cut are, in this order and as far as needed: the oldest statements, the largest
    connection attributes, the last backend connections, texts at `TEXT_BYTES`, the last
    filters, and texts at half of that and half again. Its ``truncated`` names the fields.
    ``limit`` is 8192 or more.
    """
    most = limit - limit // _SHARE
    if session.ByteSize() <= most:
        return session
    cut = Session()
    cut.CopyFrom(session)
    cut.DiscardUnknownFields()
    names = set(session.truncated)
    for shorten in _STEPS:
        _name(cut, names)
        excess = cut.ByteSize() - most
        if excess <= 0:
            break
        names.update(shorten(cut, excess))
    _name(cut, names)
    small = Session()  # cut itself keeps the memory of what was cut from it
    small.CopyFrom(cut)
    return small


def link(session: Session, upstream: Sequence[int], downstream: Sequence[int], limit: int) -> None:
    """Give a session its links, the lowest ids first, as far as ``limit`` leaves room."""
    for name in (*_LINKS, "revision", "update_time"):  # the table gives the last two anew
        session.ClearField(name)
    if any(name in _LINKS for name in session.truncated):
        _name(session, set(session.truncated).difference(_LINKS))
    if not upstream and not downstream:
        return
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


def printable(text: str) -> str:
    """A text of a source as the contract can carry it, whatever it is made of, and not longer."""
    return _cut(text.encode(errors="backslashreplace").decode(), _STATUS_BYTES)


def _name(session: Session, names: Iterable[str]) -> None:
    """Let ``truncated`` name these fields, in their order."""
    del session.truncated[:]
    session.truncated.extend(name for name in _FIELDS if name in names)


def _cut(text: str, most: int) -> str:
    """The text's beginning: at most so many bytes, whole characters."""
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[:most].decode(errors="ignore")


# Steps: each takes at least the excess off a session, or all that it may, and names the
# fields that lost something.


def _shorten_queries(session: Session, excess: int) -> Iterable[str]:
    sizes = (query.ByteSize() + _AROUND for query in session.queries)
    if count := _count(sizes, excess + len("queries") + _AROUND):
        del session.queries[:count]
        yield "queries"


def _shorten_attributes(session: Session, excess: int) -> Iterable[str]:
    sizes = {
        name: len(name.encode()) + len(value.encode()) + _AROUND_PAIR
        for name, value in session.connection_attributes.items()
    }
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    excess += len("connection_attributes") + _AROUND
    if count := _count((sizes[name] for name in names), excess):
        for name in names[:count]:
            del session.connection_attributes[name]
        yield "connection_attributes"


def _shorten_connections(session: Session, excess: int) -> Iterable[str]:
    sizes = (connection.ByteSize() + _AROUND for connection in reversed(session.connections))
    if count := _count(sizes, excess + len("connections") + _AROUND):
        del session.connections[-count:]
        yield "connections"


def _shorten_texts(session: Session, _: int, most: int = TEXT_BYTES) -> Iterable[str]:
    for name in _TEXTS:
        text = getattr(session, name)
        if (shorter := _cut(text, most)) != text:
            setattr(session, name, shorter)
            yield name
    filters = [_cut(name, most) for name in session.filters]
    if filters != session.filters:
        session.filters[:] = filters
        yield "filters"


def _shorten_filters(session: Session, excess: int) -> Iterable[str]:
    # It names two fields at most, unless a source says nonsense.
    session.known_empty[:] = [name for name in _LISTS if name in session.known_empty]
    sizes = (len(name.encode()) + _AROUND - 1 for name in reversed(session.filters))
    if count := _count(sizes, excess + len("filters") + _AROUND):
        del session.filters[-count:]
        yield "filters"


def _halving(session: Session, excess: int) -> Iterable[str]:
    enough = session.ByteSize() - excess
    names: set[str] = set()
    most = TEXT_BYTES
    while most and session.ByteSize() + sum(len(name) + _AROUND for name in names) > enough:
        most //= 2
        names.update(_shorten_texts(session, 0, most))
    return names


def _count(sizes: Iterable[int], excess: int) -> int:
    """How many of the first elements make up the excess; all of them, where all do not."""
    count = 0
    for size in sizes:
        if excess <= 0:
            break
        excess -= size
        count += 1
    return count


_STEPS: Sequence[Callable[[Session, int], Iterable[str]]] = (
    _shorten_queries,
    _shorten_attributes,
    _shorten_connections,
    _shorten_texts,
    _shorten_filters,
    _halving,
)
