"""The query of a ListSessions request: filter, order, page token, mask.

`SessionQuery.parse` turns a request into a `SessionQuery` or reports every invalid field.
A query knows which sessions match and where a page starts; it holds no sessions.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple, TypeAlias

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.errors import MAX_VIOLATIONS, InvalidRequestError, Violation, excerpt
from sessiongate.core.table.mask import Mask, is_path
from sessiongate.v1.session_pb2 import Session, SessionState
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, SessionFilter

DEFAULT_PAGE_SIZE = 1000
MAX_PAGE_SIZE = 10_000
# Limits of a request: each value takes time to read, and memory while a stream is open.
MAX_FILTER_BYTES = 32 * 1024
MAX_FILTER_VALUES = 1000  # in all fields together
MAX_MASK_PATHS = 100
_MAX_TOKEN = _MAX_ORDER = 64  # characters

# A session's place in an order: (connect_time in ns, or 0 in id order; id).
# Unique, and fixed for a session's whole life, so that pages can continue after it.
Key: TypeAlias = tuple[int, int]
SessionPredicate: TypeAlias = Callable[[Session], bool]

_ORDERS = ("id", "connect_time")
_ORDER_WORDS = "id, id desc, connect_time, connect_time desc"
_FOREIGN = "must be a next_page_token of ListSessions"
_TOKEN = struct.Struct(">8sqQ")
_MAPPED = bytes(10) + b"\xff\xff"  # prefix of an IPv4-mapped IPv6 address


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """A valid ListSessions request."""

    filter: SessionFilter | None
    order: str  # "id" or "connect_time"
    descending: bool
    page_size: int  # 1 to MAX_PAGE_SIZE
    skip: int
    after: Key | None  # the page starts after this key, in the query's direction
    above: Key | None  # only keys above this one
    below: Key | None  # only keys below this one
    mask: Mask | None
    fingerprint: bytes  # of everything that a page token depends on
    filtered: bytes  # fingerprint of the filter, if there is one

    @classmethod
    def parse(cls, request: ListSessionsRequest) -> SessionQuery:
        """Read the query of a request. Raises `InvalidRequestError`."""
        if violation := _too_much(request):
            raise InvalidRequestError(violation)
        violations: list[Violation] = []
        order, descending = _parse_order(request.order_by, violations)
        if request.page_size < 0:
            violations.append(Violation("page_size", "must be at least 0; 0 is the default size"))
        if request.skip < 0:
            violations.append(Violation("skip", "must be at least 0"))
        wanted = request.filter if request.HasField("filter") else None
        if wanted is not None and not wanted.ByteSize():
            wanted = None
        if wanted is not None:
            _check_filter(wanted, violations)
        for field in ("after_id", "before_id"):
            if getattr(request, field) and order != "id":
                violations.append(Violation(field, f"cannot be combined with order_by {order!r}"))
        mask = _parse_mask(request, violations)
        fingerprint = _fingerprint(request)
        after = _parse_token(request.page_token, fingerprint, violations)
        if violations:
            raise InvalidRequestError(*violations)
        return cls(
            filter=wanted,
            order=order,
            descending=descending,
            page_size=min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE),
            skip=request.skip,
            after=after,
            above=(0, request.after_id) if request.after_id else None,
            below=(0, request.before_id) if request.before_id else None,
            mask=mask,
            fingerprint=fingerprint,
            filtered=b"" if wanted is None else digest_of(wanted),
        )

    def token(self, last: Key) -> str:
        """Return the token of the page that follows ``last``."""
        packed = _TOKEN.pack(self.fingerprint, *last)
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def matcher(wanted: SessionFilter) -> SessionPredicate:
    """Return a predicate: whether a session matches a valid filter."""
    services, users = frozenset(wanted.services), frozenset(wanted.users)
    states, sources = frozenset(wanted.states), frozenset(wanted.sources)
    databases, applications = frozenset(wanted.databases), frozenset(wanted.applications)
    networks = _Networks(_network(text) for text in wanted.remotes)
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
        if databases and not (session.HasField("database") and session.database in databases):
            return False
        if applications and not (
            session.HasField("application") and session.application in applications
        ):
            return False
        if networks and not networks.hold(session.remote):
            return False
        if after is None and before is None:
            return True
        connected = session.connect_time.ToNanoseconds()
        return (after is None or connected >= after) and (before is None or connected < before)

    return matches


class _Network(NamedTuple):
    """A range of addresses, as numbers; those of IPv4 have 4 bytes."""

    size: int  # of an address, in bytes
    first: int
    last: int


class _Networks:
    """Networks as disjoint ranges, for quick look-ups of an address."""

    def __init__(self, networks: Iterable[_Network]) -> None:
        # By address size: the first addresses of the ranges, ascending, and the last ones.
        self._ranges: dict[int, tuple[list[int], list[int]]] = {}
        for size, first, last in sorted(networks):
            firsts, lasts = self._ranges.setdefault(size, ([], []))
            if lasts and first <= lasts[-1]:
                lasts[-1] = max(lasts[-1], last)
            else:
                firsts.append(first)
                lasts.append(last)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def hold(self, remote: str) -> bool:
        """Return whether one of them contains an address."""
        address = _packed(remote)
        ranges = self._ranges.get(len(address))
        if ranges is None:
            return False
        firsts, lasts = ranges
        bits = int.from_bytes(address)
        place = bisect_right(firsts, bits)
        return place > 0 and bits <= lasts[place - 1]


def _packed(remote: str) -> bytes:
    """Return the address, an IPv4-mapped one as IPv4; empty for a Unix socket's path.

    It is parsed again for each session: a cache would be no faster, and would mostly hold
    addresses of sessions that are gone.
    """
    return _read(remote.partition("%")[0]).removeprefix(_MAPPED)


def _read(address: str) -> bytes:
    for family in (AF_INET, AF_INET6):
        try:
            return inet_pton(family, address)
        except (OSError, ValueError):
            continue
    return b""


def _network(text: str) -> _Network:
    """Read a network or one address, IPv4-mapped IPv6 as IPv4. Raises `ValueError`."""
    address, slash, length = text.partition("/")
    packed = _read(address)
    if packed and not slash:
        prefix = 8 * len(packed)
    elif packed and length.isascii() and length.isdigit():
        prefix = int(length)
    else:
        network = ip_network(text)  # accepts more forms, at thirty times the cost
        packed, prefix = network.network_address.packed, network.prefixlen
    if packed.startswith(_MAPPED) and prefix >= 8 * len(_MAPPED):
        packed, prefix = packed[len(_MAPPED) :], prefix - 8 * len(_MAPPED)
    if prefix > 8 * len(packed):
        raise ValueError("the prefix is longer than the address")
    first, hosts = int.from_bytes(packed), (1 << 8 * len(packed) - prefix) - 1
    if first & hosts:
        raise ValueError("the address has bits after the prefix")
    return _Network(len(packed), first, first | hosts)


def _too_much(request: ListSessionsRequest) -> Violation | None:
    """Return the limit that a request exceeds, if any, before anything else is read."""
    if request.HasField("filter"):
        wanted = request.filter
        names = len(wanted.services) + len(wanted.users) + len(wanted.sources)
        names += len(wanted.databases) + len(wanted.applications)
        values = names + len(wanted.remotes) + len(wanted.states)
        if values > MAX_FILTER_VALUES:
            return Violation(
                "filter", f"must have at most {MAX_FILTER_VALUES} values, got {values}"
            )
        if (size := wanted.ByteSize()) > MAX_FILTER_BYTES:
            return Violation("filter", f"must have at most {MAX_FILTER_BYTES} bytes, got {size}")
    if (paths := len(request.read_mask.paths)) > MAX_MASK_PATHS:
        return Violation("read_mask", f"must have at most {MAX_MASK_PATHS} paths, got {paths}")
    if len(request.order_by) > _MAX_ORDER:
        return Violation("order_by", _wrong_order(request.order_by))
    if len(request.page_token) > _MAX_TOKEN:
        return Violation("page_token", _FOREIGN)
    return None


def _check_filter(wanted: SessionFilter, violations: list[Violation]) -> None:
    """Add violations of a filter, up to as many as an error has room for."""
    for index, text in enumerate(wanted.remotes):
        if len(violations) >= MAX_VIOLATIONS:
            return
        try:
            _network(text)
        except ValueError:
            violations.append(
                Violation(
                    f"filter.remotes[{index}]",
                    f"must be an IPv4 or IPv6 address or network, got {excerpt(text)}",
                )
            )
    states = frozenset(SessionState.values())
    for index, state in enumerate(wanted.states):
        if len(violations) >= MAX_VIOLATIONS:
            return
        if state not in states:
            violations.append(
                Violation(f"filter.states[{index}]", f"must be a SessionState, got {state}")
            )
    for field in ("connected_after", "connected_before"):
        if wanted.HasField(field):
            time: Timestamp = getattr(wanted, field)
            try:
                time.ToDatetime()
            except (ValueError, OverflowError):
                violations.append(Violation(f"filter.{field}", "must be a valid Timestamp"))


def _parse_order(text: str, violations: list[Violation]) -> tuple[str, bool]:
    words = text.split()
    if not words:
        return "id", False
    descending = words[1:] == ["desc"]
    if words[0] not in _ORDERS or not (descending or len(words) == 1):
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


def _fingerprint(request: ListSessionsRequest) -> bytes:
    bound = ListSessionsRequest()
    bound.CopyFrom(request)
    for field in ("page_size", "page_token", "skip"):
        bound.ClearField(field)
    return digest_of(bound)[:8]


def digest_of(message: Message) -> bytes:
    """Hash a message; equal messages have equal digests."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).digest()


def _parse_token(token: str, fingerprint: bytes, violations: list[Violation]) -> Key | None:
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        found, time, ident = _TOKEN.unpack(raw)
    except (binascii.Error, struct.error, ValueError):
        violations.append(Violation("page_token", _FOREIGN))
        return None
    if found != fingerprint:
        violations.append(
            Violation("page_token", "is for a request with another filter, order or mask")
        )
        return None
    return time, ident
