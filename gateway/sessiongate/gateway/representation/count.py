"""Counts of sessions as resource objects: what sessions have in common, and how many they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from sessiongate.gateway.representation.row import FIELDS, SessionRow
from sessiongate.runtime.addresses import packed_remote, written_address
from sessiongate.runtime.turns import Steps
from sessiongate.runtime.value_counts import CountedValues, ValueCounts
from sessiongate.v1 import session_service_pb2
from sessiongate.v1.activities import ACTIVITY_WORDS
from sessiongate.v1.session_service_pb2 import CountBy, SessionGroup
from sessiongate.v1.states import STATE_WORDS

# Attributes that sessions may be counted by.
COUNTED_BY: Mapping[str, CountBy] = {
    "service": session_service_pb2.COUNT_BY_SERVICE,
    "source": session_service_pb2.COUNT_BY_SOURCE,
    "user": session_service_pb2.COUNT_BY_USER,
    "application": session_service_pb2.COUNT_BY_APPLICATION,
    "database": session_service_pb2.COUNT_BY_DATABASE,
    "remote": session_service_pb2.COUNT_BY_REMOTE,
    "state": session_service_pb2.COUNT_BY_STATE,
    "activity": session_service_pb2.COUNT_BY_ACTIVITY,
}
_WORDS: Mapping[str, Mapping[Any, str]] = {"state": STATE_WORDS, "activity": ACTIVITY_WORDS}
MISSING_VALUE = "*"  # in an id


def counts_url(base: str) -> str:
    """Return the URL of the collection."""
    return f"{base}/v1/counts/"


def count_resource(by: Sequence[str], values: CountedValues, count: int) -> dict[str, Any]:
    """Return the resource object of a count."""
    shown = [_WORDS[name][value] if name in _WORDS and value is not None else value
             for name, value in zip(by, values, strict=True)]  # fmt: skip
    return {
        "id": ",".join(MISSING_VALUE if one is None else quote(str(one), safe="") for one in shown),
        "type": "counts",
        "attributes": {**dict(zip(by, shown, strict=True)), "count": count},
    }


def values_of(by: Sequence[str], group: SessionGroup) -> CountedValues | None:
    """Return the values of the core's group; None if this version does not know one of them."""
    values: list[str | int | None] = []
    for name, one in zip(by, group.values, strict=True):
        member = one.WhichOneof("value")
        value = None if member is None else getattr(one, member)
        if name in _WORDS and value is not None and value not in _WORDS[name]:
            return None
        values.append(value)
    return tuple(values)


def add_rows(counts: ValueCounts, by: Sequence[str], rows: Iterable[SessionRow]) -> Steps[None]:
    """Count rows, as the core counts their sessions."""
    getters = [_GETTERS[name] for name in by]
    for number, row in enumerate(rows, 1):
        counts.add(tuple([get(row) for get in getters]), 1)
        if number % _AT_ONCE == 0:
            yield


_AT_ONCE = 100  # rows between two rests


def _getter(field: str) -> Callable[[SessionRow], Any]:
    place = FIELDS.index(field)
    return lambda row: row.values[place]


_activity = _getter("activities")
_remote = _getter("remotes")


def _remote_of(row: SessionRow) -> str | None:
    text: str | None = _remote(row)
    packed = packed_remote(text) if text else b""
    return written_address(packed) if packed else text


_GETTERS: Mapping[str, Callable[[SessionRow], Any]] = {
    "service": lambda row: row.service or None,
    "source": lambda row: row.source,
    "state": lambda row: row.state,
    "remote": _remote_of,
    "activity": lambda row: state if (state := _activity(row)) in ACTIVITY_WORDS else None,
    **{name: _getter(f"{name}s") for name in ("user", "application", "database")},
}
