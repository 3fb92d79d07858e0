"""The query of a ListPastSessions request: time, filter, order, page token."""

from __future__ import annotations

import base64
import binascii
import struct
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.errors import InvalidRequestError, Violation, excerpt
from sessiongate.core.ledger.past_selector import FOREVER, PastPlace, PastSelector
from sessiongate.core.sources.support.moments import is_storable
from sessiongate.core.table.addresses import Networks, remote_of
from sessiongate.core.table.filter import RowFilter, digest_of
from sessiongate.core.table.query import excess_of, parse_filter, parse_page_size
from sessiongate.v1.history_service_pb2 import (
    ExportPastSessionsRequest,
    ListPastSessionsRequest,
    PastSessionFilter,
)
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, SessionFilter

_ORDERS = ("connect_time", "end_time")
_ORDER_WORDS = ", ".join(f"{order}, {order} desc" for order in _ORDERS)
_MAX_ORDER = _MAX_TOKEN = 64  # characters
_TOKEN = struct.Struct(">8sqQq")
_FOREIGN = "must be the next_page_token of a page"
# The fields of a filter that name values, with the columns that hold them.
_COLUMNS = {
    "services": "service",
    "users": "user",
    "sources": "source",
    "databases": "database",
    "applications": "application",
    "states": "state",
}
_OF_ACTIVITY = ("activities", "min_activity_duration", "min_idle")

PastRequest: TypeAlias = ListPastSessionsRequest | ExportPastSessionsRequest


@dataclass(frozen=True, slots=True)
class PastQuery:
    """A valid request for past sessions."""

    selector: PastSelector
    sources: tuple[str, ...]  # those that the filter names; none: all
    asked: tuple[int, int]  # the time whose gaps are returned, in ns; 0: no beginning
    page_size: int
    after: PastPlace | None
    fingerprint: bytes

    @classmethod
    def parse(cls, request: PastRequest, now: int) -> PastQuery:
        """Read a request at a time, in ns since the epoch. Raises `InvalidRequestError`."""
        violations: list[Violation] = []
        paged = ListSessionsRequest(filter=request.filter.sessions)
        if isinstance(request, ListPastSessionsRequest):
            paged.page_size, paged.page_token = request.page_size, request.page_token
        if violation := excess_of(paged):
            raise InvalidRequestError(_moved(violation))
        page_size = parse_page_size(paged, violations)
        matching = parse_filter(paged, violations)
        violations = [*map(_moved, violations)]
        violations += [
            Violation(f"filter.sessions.{field}", "is not known of past sessions")
            for field in _OF_ACTIVITY
            if request.filter.sessions.ByteSize() and _is_set(request.filter.sessions, field)
        ]
        by_end, descending = _order(request.order_by, violations)
        fingerprint = _fingerprint(request)
        token = _token(paged.page_token, fingerprint, violations)
        as_of = now if token is None else token[1]
        start, end, asked = _time(request.filter, as_of, violations)
        if violations:
            raise InvalidRequestError(*violations)
        names, connected, remote = _narrowed(request.filter.sessions, matching)
        return cls(
            PastSelector(start, end, as_of, by_end, descending, names, connected, remote),
            tuple(request.filter.sessions.sources),
            asked,
            page_size,
            None if token is None else token[0],
            fingerprint,
        )

    def token(self, place: PastPlace) -> str:
        """Return the token of the page that follows a place."""
        packed = _TOKEN.pack(self.fingerprint, *place, self.selector.as_of)
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _is_set(wanted: SessionFilter, field: str) -> bool:
    return any(descriptor.name == field for descriptor, _ in wanted.ListFields())


def _moved(violation: Violation) -> Violation:
    """Name a field of the filter as this request has it."""
    field = violation.field
    if field == "filter" or field.startswith("filter."):
        field = f"filter.sessions{field.removeprefix('filter')}"
    return Violation(field, violation.description)


def _order(text: str, violations: list[Violation]) -> tuple[bool, bool]:
    words = text.split() or ["connect_time"]
    is_known = words[0] in _ORDERS and words[1:] in ([], ["desc"])
    if not is_known or len(text) > _MAX_ORDER:
        violations.append(
            Violation("order_by", f"must be one of {_ORDER_WORDS}, got {excerpt(text)}")
        )
    return words[0] == "end_time", len(words) > 1


def _time(
    wanted: PastSessionFilter, as_of: int, violations: list[Violation]
) -> tuple[int, int, tuple[int, int]]:
    """Return the times that sessions are asked for by, and the time that is asked about."""
    moments: dict[str, int] = {}
    for field in ("at_time", "start_time", "end_time"):
        if wanted.HasField(field):
            time: Timestamp = getattr(wanted, field)
            if is_storable(time):
                moments[field] = time.ToNanoseconds()
            else:
                violations.append(Violation(f"filter.{field}", "must be a valid Timestamp"))
    if "at_time" in moments:
        if len(moments) > 1:
            text = "cannot be combined with start_time or end_time"
            violations.append(Violation("filter.at_time", text))
        moment = moments["at_time"]
        known = min(moment, as_of)
        return moment, moment + 1, (known, known)
    start, end = moments.get("start_time", 0), moments.get("end_time", as_of + 1)
    if "end_time" in moments and end <= start:
        violations.append(Violation("filter.end_time", "must be after start_time"))
    return start, end, (min(start, as_of), min(end, as_of))


def _narrowed(
    wanted: SessionFilter, matching: RowFilter | None
) -> tuple[dict[str, list[object]], tuple[int, int], partial[bool] | None]:
    """Return what the filter allows: values of columns, times of connecting, addresses."""
    if matching is None:
        return {}, (-FOREVER, FOREVER), None
    names = {
        column: [*values]
        for field, column in _COLUMNS.items()
        if (values := getattr(wanted, field))
    }
    connected = (
        -FOREVER if matching.after is None else matching.after,
        FOREVER if matching.before is None else matching.before,
    )
    remote = partial(_holds, matching.networks) if matching.networks else None
    return names, connected, remote


def _holds(networks: Networks, remote: str | None) -> bool:
    return remote is not None and networks.hold(remote_of(remote))


def _fingerprint(request: PastRequest) -> bytes:
    """Hash all that must stay the same from page to page."""
    bound = deepcopy(request)
    if isinstance(bound, ListPastSessionsRequest):
        for field in ("page_size", "page_token"):
            bound.ClearField(field)
    return digest_of(bound)[:8]


def _token(
    token: str, fingerprint: bytes, violations: list[Violation]
) -> tuple[PastPlace, int] | None:
    """Return the place that a token was made of, and when its first page was read."""
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        found, time, ident, as_of = _TOKEN.unpack(raw)
    except (binascii.Error, struct.error, ValueError):
        violations.append(Violation("page_token", _FOREIGN))
        return None
    if found != fingerprint:
        violations.append(Violation("page_token", "is for a request with other fields"))
        return None
    return PastPlace(time, ident), as_of
