"""The query of a ListSessions request: filter, order, page token, mask.

`SessionQuery.parse` turns a request into a `SessionQuery` or reports every invalid field.
A query knows where a page starts; it holds no sessions.
"""

from __future__ import annotations

import base64
import binascii
import struct
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from sessiongate.core.errors import MAX_VIOLATIONS, InvalidRequestError, Violation, excerpt
from sessiongate.core.place import id_of, place_of, time_of
from sessiongate.core.table.addresses import AddressRange, network_of
from sessiongate.core.table.filter import RowFilter, digest_of
from sessiongate.core.table.indexes import PLACES
from sessiongate.core.table.mask import Mask, is_path
from sessiongate.v1.activities import ACTIVITY_WORDS
from sessiongate.v1.session_pb2 import SessionState
from sessiongate.v1.session_service_pb2 import CountSessionsRequest, ListSessionsRequest

DEFAULT_PAGE_SIZE = 1000
MAX_PAGE_SIZE = 10_000
# Limits of a request: each value takes time to read, and memory while a stream is open.
MAX_FILTER_BYTES = 32 * 1024
MAX_FILTER_VALUES = 1000  # in all fields together
MAX_MASK_PATHS = 100
_MAX_TOKEN = _MAX_ORDER = 64  # characters

_ORDER_WORDS = ", ".join(f"{order}, {order} desc" for order in PLACES)
_MAX_SECONDS = 315_576_000_000  # of a Duration
# The fields of a filter that hold values of an enumeration, and which are allowed.
_ENUMS = (
    ("states", "a SessionState", frozenset(SessionState.values())),
    ("activities", "an ActivityState that is not UNSPECIFIED", frozenset(ACTIVITY_WORDS)),
)
# A request for one page of several.
PagedRequest: TypeAlias = ListSessionsRequest | CountSessionsRequest
_FOREIGN = "must be the next_page_token of a page"
_TOKEN = struct.Struct(">8sqQ")


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """A valid ListSessions request."""

    matching: RowFilter | None  # the filter
    order: str  # of `PLACES`
    descending: bool
    page_size: int  # 1 to MAX_PAGE_SIZE
    skip: int
    after: int | None  # the page starts after this place, in the query's direction
    above: int | None  # only places above this one
    below: int | None  # only places below this one
    mask: Mask | None
    fingerprint: bytes  # of everything that a page token depends on

    @classmethod
    def parse(cls, request: ListSessionsRequest) -> SessionQuery:
        """Read the query of a request. Raises `InvalidRequestError`."""
        if violation := _too_much(request):
            raise InvalidRequestError(violation)
        violations: list[Violation] = []
        order, descending = _parse_order(request.order_by, violations)
        page_size = parse_page_size(request, violations)
        matching = parse_filter(request, violations)
        for field in ("after_id", "before_id"):
            if getattr(request, field) and order != "id":
                violations.append(Violation(field, f"cannot be combined with order_by {order!r}"))
        mask = _parse_mask(request, violations)
        fingerprint = fingerprint_of(request)
        after = parse_token(request.page_token, fingerprint, violations)
        if violations:
            raise InvalidRequestError(*violations)
        return cls(
            matching=matching,
            order=order,
            descending=descending,
            page_size=page_size,
            skip=request.skip,
            after=after,
            above=request.after_id or None,
            below=request.before_id or None,
            mask=mask,
            fingerprint=fingerprint,
        )

    def token(self, last: int) -> str:
        """Return the token of the page that follows ``last``."""
        return token_of(self.fingerprint, last)


def _too_much(request: ListSessionsRequest) -> Violation | None:
    """Return the limit that a request exceeds, if any, before anything else is read."""
    if violation := excess_of(request):
        return violation
    if (paths := len(request.read_mask.paths)) > MAX_MASK_PATHS:
        return Violation("read_mask", f"must have at most {MAX_MASK_PATHS} paths, got {paths}")
    if len(request.order_by) > _MAX_ORDER:
        return Violation("order_by", _wrong_order(request.order_by))
    return None


def excess_of(request: PagedRequest) -> Violation | None:
    """Return the limit that the filter or the token exceeds, if any."""
    if request.HasField("filter"):
        wanted = request.filter
        names = len(wanted.services) + len(wanted.users) + len(wanted.sources)
        names += len(wanted.databases) + len(wanted.applications)
        values = names + len(wanted.remotes) + len(wanted.states) + len(wanted.activities)
        if values > MAX_FILTER_VALUES:
            return Violation(
                "filter", f"must have at most {MAX_FILTER_VALUES} values, got {values}"
            )
        if (size := wanted.ByteSize()) > MAX_FILTER_BYTES:
            return Violation("filter", f"must have at most {MAX_FILTER_BYTES} bytes, got {size}")
    if len(request.page_token) > _MAX_TOKEN:
        return Violation("page_token", _FOREIGN)
    return None


def parse_page_size(request: PagedRequest, violations: list[Violation]) -> int:
    """Read the size of a page; add the violations of that, and of ``skip``."""
    if request.page_size < 0:
        violations.append(Violation("page_size", "must be at least 0; 0 is the default size"))
    if request.skip < 0:
        violations.append(Violation("skip", "must be at least 0"))
    return min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def parse_filter(request: PagedRequest, violations: list[Violation]) -> RowFilter | None:
    """Read the filter, if there is one; add violations, up to as many as an error has room for."""
    if not request.HasField("filter") or not request.filter.ByteSize():
        return None
    wanted = request.filter
    if len(unknown := UnknownFieldSet(wanted)):  # to ignore it would return what it excludes
        number = unknown[0].field_number
        text = f"has the unknown field {number}: this core may be older than its caller"
        violations.append(Violation("filter", text))
    networks: list[AddressRange] = []
    for index, text in enumerate(wanted.remotes):
        if len(violations) >= MAX_VIOLATIONS:
            return None
        try:
            networks.append(network_of(text))
        except ValueError:
            violations.append(
                Violation(
                    f"filter.remotes[{index}]",
                    f"must be an IPv4 or IPv6 address or network, got {excerpt(text)}",
                )
            )
    for field, enum, known in _ENUMS:
        for index, value in enumerate(getattr(wanted, field)):
            if len(violations) >= MAX_VIOLATIONS:
                return None
            if value not in known:
                violations.append(
                    Violation(f"filter.{field}[{index}]", f"must be {enum}, got {value}")
                )
    for field in ("min_idle", "min_activity_duration"):
        if wanted.HasField(field) and not _is_duration(getattr(wanted, field)):
            violations.append(
                Violation(f"filter.{field}", "must be a valid Duration, and at least 0")
            )
    for field in ("connected_after", "connected_before"):
        if wanted.HasField(field):
            time: Timestamp = getattr(wanted, field)
            try:
                time.ToDatetime()
            except (ValueError, OverflowError):
                violations.append(Violation(f"filter.{field}", "must be a valid Timestamp"))
    return None if violations else RowFilter(wanted, networks)


def _is_duration(duration: Duration) -> bool:
    """Return whether a duration is valid, and not negative."""
    return 0 <= duration.seconds <= _MAX_SECONDS and 0 <= duration.nanos < 10**9


def _parse_order(text: str, violations: list[Violation]) -> tuple[str, bool]:
    words = text.split()
    if not words:
        return "id", False
    descending = words[1:] == ["desc"]
    if words[0] not in PLACES or not (descending or len(words) == 1):
        violations.append(Violation("order_by", _wrong_order(text)))
        return "id", False
    return words[0], descending


def _wrong_order(text: str) -> str:
    return f"must be one of {_ORDER_WORDS}, got {excerpt(text)}"


def _parse_mask(request: ListSessionsRequest, violations: list[Violation]) -> Mask | None:
    paths = list(request.read_mask.paths)
    if paths == ["*"] or not paths:
        return None
    wrong = [path for path in dict.fromkeys(paths) if not is_path(path)]
    violations += (
        Violation("read_mask", f"must name fields of Session, got {excerpt(path)}")
        for path in wrong
    )
    return None if wrong else Mask.of(paths)


def fingerprint_of(request: PagedRequest) -> bytes:
    """Hash all that must stay the same from page to page."""
    bound = deepcopy(request)
    for field in ("page_size", "page_token", "skip"):
        bound.ClearField(field)
    return digest_of(bound)[:8]


def token_of(fingerprint: bytes, place: int) -> str:
    """Return the token of the page that follows a place."""
    packed = _TOKEN.pack(fingerprint, time_of(place), id_of(place))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def parse_token(token: str, fingerprint: bytes, violations: list[Violation]) -> int | None:
    """Return the place that a token was made of; None if there is none."""
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        found, time, ident = _TOKEN.unpack(raw)
    except (binascii.Error, struct.error, ValueError):
        violations.append(Violation("page_token", _FOREIGN))
        return None
    if found != fingerprint:
        violations.append(Violation("page_token", "is for a request with other fields"))
        return None
    return place_of(time, ident)
