"""What a ListSessions request asks for: filter, order, page token, mask.

`Query.parse` turns a request into a `Query` or names every field that is wrong.
A query knows which sessions match and where a page starts; it holds none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple, TypeAlias, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from core.errors import InvalidRequestError, Violation
from sessiongate.v1.session_pb2 import Session, SessionState
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, SessionFilter

DEFAULT_PAGE_SIZE = 1000
MAX_PAGE_SIZE = 10_000

# Where a session stands in an order: (connect_time in ns, or 0 in id order; id).
# Unique and fixed for a session's whole life, so that pages can go by it.
Key: TypeAlias = tuple[int, int]
Predicate: TypeAlias = Callable[[Session], bool]

_ORDERS = ("id", "connect_time")
_DESCRIPTOR = cast(Descriptor, Session.DESCRIPTOR)
_TOKEN = struct.Struct(">8sqQ")
_MAPPED = bytes(10) + b"\xff\xff"  # what an IPv4 address in IPv6 clothes begins with


@dataclass(frozen=True, slots=True)
class Query:
    """A valid ListSessions request."""

    filter: SessionFilter | None
    order: str  # "id" or "connect_time"
    descending: bool
    page_size: int  # 1 to MAX_PAGE_SIZE
    skip: int
    after: Key | None  # the page starts behind this key, in the query's direction
    above: Key | None  # only keys above this one
    below: Key | None  # only keys below this one
    mask: FieldMask | None
    fingerprint: bytes  # of everything that a page token is bound to

    @classmethod
    def parse(cls, request: ListSessionsRequest) -> Query:
        """The query that a request states. Raises `InvalidRequestError`."""
        violations: list[Violation] = []
        order, descending = _parse_order(request.order_by, violations)
        if request.page_size < 0:
            violations.append(Violation("page_size", "must not be negative; 0 is the default"))
        if request.skip < 0:
            violations.append(Violation("skip", "must not be negative"))
        wanted = request.filter if request.HasField("filter") else None
        if wanted is not None:
            _check_filter(wanted, violations)
        for field in ("after_id", "before_id"):
            if getattr(request, field) and order != "id":
                violations.append(Violation(field, f"does not go with order_by {order!r}"))
        mask = _parse_mask(request, violations)
        fingerprint = _fingerprint(request)
        after = _parse_token(request.page_token, fingerprint, violations)
        if violations:
            raise InvalidRequestError(*violations)
        return cls(
            filter=wanted if wanted is not None and wanted.ByteSize() else None,
            order=order,
            descending=descending,
            page_size=min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE),
            skip=request.skip,
            after=after,
            above=(0, request.after_id) if request.after_id else None,
            below=(0, request.before_id) if request.before_id else None,
            mask=mask,
            fingerprint=fingerprint,
        )

    def token(self, last: Key) -> str:
        """The page token for what follows ``last``."""
        packed = _TOKEN.pack(self.fingerprint, *last)
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    def masked(self, session: Session) -> Session:
        """The session with only the fields that the mask names."""
        if self.mask is None:
            return session
        cut = Session()
        self.mask.MergeMessage(session, cut)
        return cut


def matcher(wanted: SessionFilter) -> Predicate:
    """Whether a session matches a valid filter."""
    services, users = frozenset(wanted.services), frozenset(wanted.users)
    states, sources = frozenset(wanted.states), frozenset(wanted.sources)
    networks = tuple(_network(text) for text in wanted.remotes)
    after = wanted.connected_after.ToNanoseconds() if wanted.HasField("connected_after") else None
    before = (
        wanted.connected_before.ToNanoseconds() if wanted.HasField("connected_before") else None
    )

    def matches(session: Session) -> bool:
        if services and session.service not in services:
            return False
        if users and not (session.HasField("user") and session.user in users):
            return False
        if states and session.state not in states:
            return False
        if sources and session.source not in sources:
            return False
        if networks and not _within(session.remote, networks):
            return False
        if after is None and before is None:
            return True
        connected = session.connect_time.ToNanoseconds()
        return (after is None or connected >= after) and (before is None or connected < before)

    return matches


class _Network(NamedTuple):
    """Addresses that have the same bits where the mask has ones."""

    size: int  # of an address, in bytes
    mask: int
    bits: int


def _within(remote: str, networks: tuple[_Network, ...]) -> bool:
    address = _packed(remote)
    size, bits = len(address), int.from_bytes(address)
    for network in networks:  # noqa: SIM110 - any() takes twice as long
        if size == network.size and bits & network.mask == network.bits:
            return True
    return False


def _packed(remote: str) -> bytes:
    """The address, an IPv4 one in IPv6 clothes as IPv4; empty for a Unix socket's path.

    Read anew for each session: looking it up takes as long, and what is remembered
    would mostly be of sessions that are gone.
    """
    try:
        return inet_pton(AF_INET, remote)
    except (OSError, ValueError):
        pass
    try:
        return inet_pton(AF_INET6, remote.partition("%")[0]).removeprefix(_MAPPED)
    except (OSError, ValueError):
        return b""


def _network(text: str) -> _Network:
    """A network or one address, of IPv4 in IPv6 clothes as of IPv4. Raises `ValueError`."""
    network = ip_network(text)
    mask, first = network.netmask.packed, network.network_address.packed
    if first.startswith(_MAPPED) and network.prefixlen >= 8 * len(_MAPPED):
        mask, first = mask[len(_MAPPED) :], first[len(_MAPPED) :]
    return _Network(len(first), int.from_bytes(mask), int.from_bytes(first))


def _check_filter(wanted: SessionFilter, violations: list[Violation]) -> None:
    for index, text in enumerate(wanted.remotes):
        try:
            _network(text)
        except ValueError:
            violations.append(
                Violation(
                    f"filter.remotes[{index}]",
                    f"{text!r} is neither an address nor a network such as 10.0.0.0/8",
                )
            )
    for index, state in enumerate(wanted.states):
        if state not in SessionState.values():
            violations.append(
                Violation(f"filter.states[{index}]", f"{state} is not a SessionState")
            )
    for field in ("connected_after", "connected_before"):
        if wanted.HasField(field):
            time: Timestamp = getattr(wanted, field)
            try:
                time.ToDatetime()
            except (ValueError, OverflowError):
                violations.append(Violation(f"filter.{field}", "is not a valid Timestamp"))


def _parse_order(text: str, violations: list[Violation]) -> tuple[str, bool]:
    words = text.split()
    if not words:
        return "id", False
    descending = words[1:] == ["desc"]
    if words[0] not in _ORDERS or not (descending or len(words) == 1):
        violations.append(
            Violation(
                "order_by", f"{text!r} is not one of: id, id desc, connect_time, connect_time desc"
            )
        )
        return "id", False
    return words[0], descending


def _parse_mask(request: ListSessionsRequest, violations: list[Violation]) -> FieldMask | None:
    if not request.HasField("read_mask"):
        return None
    paths = list(request.read_mask.paths)
    if paths == ["*"] or not paths:
        return None
    for path in paths:
        if not FieldMask(paths=[path]).IsValidForDescriptor(_DESCRIPTOR):
            violations.append(Violation("read_mask", f"{path!r} is not a field of Session"))
    return request.read_mask


def _fingerprint(request: ListSessionsRequest) -> bytes:
    bound = ListSessionsRequest()
    bound.CopyFrom(request)
    for field in ("page_size", "page_token", "skip"):
        bound.ClearField(field)
    return hashlib.sha256(bound.SerializeToString(deterministic=True)).digest()[:8]


def _parse_token(token: str, fingerprint: bytes, violations: list[Violation]) -> Key | None:
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        found, time, ident = _TOKEN.unpack(raw)
    except (binascii.Error, struct.error, ValueError):
        violations.append(Violation("page_token", "is not a next_page_token of ListSessions"))
        return None
    if found != fingerprint:
        violations.append(
            Violation("page_token", "belongs to a request with another filter, order or mask")
        )
        return None
    return time, ident
