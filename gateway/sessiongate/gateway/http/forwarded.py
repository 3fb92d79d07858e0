"""Determines the client, scheme and host of requests that come through proxies.

Anyone can send the headers that report them, so only trusted proxies are believed. A
proxy appends to a list, so a list is read from its end, as far as trusted proxies have
written it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from starlette.types import ASGIApp, Receive, Scope, Send

from sessiongate.runtime.addresses import IpAddress, parse_ip, split_host, unmapped

_FOR, _PROTO, _HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
_FORWARDED = b"forwarded"  # RFC 7239
_PAIR = re.compile(
    r"\s*(?P<name>[A-Za-z]+)=(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>[^\s\",;]+))\s*(?P<end>[;,]|$)"
)


@dataclass(frozen=True, slots=True)
class Hop:
    """One proxy's report on its client; None for what it does not report."""

    client: IpAddress | None = None
    scheme: str | None = None
    host: str | None = None


class Forwarded:
    """Middleware that sets client, scheme and Host as trusted proxies report them.

    It reads ``X-Forwarded-For``, ``-Proto`` and ``-Host``, or ``Forwarded``. If both are
    present, the caller may have sent one of them, so both are ignored.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.apply(scope)
        await self._app(scope, receive, send)

    def apply(self, scope: Scope) -> None:
        """Set client, scheme and Host of a request."""
        if self._trusts(_address(scope)):
            hop = self._origin(scope["headers"])
            if hop.client is not None:
                scope["client"] = (str(hop.client), 0)
            if hop.scheme is not None:
                scope["scheme"] = hop.scheme
            if hop.host is not None:
                others = [pair for pair in scope["headers"] if pair[0] != b"host"]
                scope["headers"] = [*others, (b"host", hop.host.encode("latin-1"))]

    def _trusts(self, address: IpAddress | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)

    def _origin(self, headers: Sequence[tuple[bytes, bytes]]) -> Hop:
        """Return what the farthest trusted proxy reports."""
        old, new = _old_hops(headers), _new_hops(headers)
        if old and new:
            return Hop()
        origin = Hop()
        for hop in reversed(old or new):
            origin = hop
            if not self._trusts(hop.client):
                break
        return origin


def _old_hops(headers: Sequence[tuple[bytes, bytes]]) -> list[Hop]:
    clients = _values(headers, _FOR)
    schemes, hosts = _values(headers, _PROTO), _values(headers, _HOST)
    count = max(len(clients), 1) if clients or schemes or hosts else 0
    # Many proxies append only to the first list: then there is one scheme and one host.
    schemes = schemes * count if len(schemes) == 1 else schemes
    hosts = hosts * count if len(hosts) == 1 else hosts
    return [
        Hop(
            _node(clients[index]) if clients else None,
            _scheme(schemes[index]) if len(schemes) == count else None,
            hosts[index] if len(hosts) == count else None,
        )
        for index in range(count)
    ]


def _new_hops(headers: Sequence[tuple[bytes, bytes]]) -> list[Hop]:
    hops = []
    for value in (value.decode("latin-1") for name, value in headers if name == _FORWARDED):
        for pairs in _elements(value):
            client, scheme = pairs.get("for"), pairs.get("proto")
            hops.append(
                Hop(
                    _node(client) if client else None,
                    _scheme(scheme) if scheme else None,
                    pairs.get("host"),
                )
            )
    return hops


def _elements(value: str) -> Iterator[dict[str, str]]:
    """Yield the elements of one ``Forwarded``; an empty one ends them if the rest is malformed."""
    pairs: dict[str, str] = {}
    start = 0
    while start < len(value):
        found = _PAIR.match(value, start)
        if found is None:
            yield {}
            return
        quoted = found["quoted"]
        text = found["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        pairs[found["name"].lower()] = text
        start = found.end()
        if found["end"] != ";":
            yield pairs
            pairs = {}


def _values(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    """Return the members of a list header, from all its lines."""
    lines = [value.decode("latin-1") for name, value in headers if name == wanted]
    return [member.strip() for member in ",".join(lines).split(",")] if lines else []


def _node(text: str) -> IpAddress | None:
    """Parse an address, with or without a port; return None for a name that only hides one.

    An IPv4-mapped IPv6 address becomes IPv4.
    """
    found = split_host(text)
    host = found[0] if found else text  # IPv6 without brackets
    address = None if "%" in host else parse_ip(host)
    return address and unmapped(address)


def _scheme(text: str) -> str | None:
    return text.lower() if text.lower() in ("http", "https") else None


def _address(scope: Scope) -> IpAddress | None:
    return _node(scope["client"][0]) if scope.get("client") else None
