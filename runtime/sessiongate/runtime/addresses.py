"""IP addresses, and addresses to listen on and to connect to: HOST:PORT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TypeAlias

from sessiongate.runtime.urls import redacted

IpAddress: TypeAlias = IPv4Address | IPv6Address

MAX_PORT = 65535
MAPPED = bytes(10) + b"\xff\xff"  # prefix of an IPv4-mapped IPv6 address

_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[A-Za-z0-9._-]{1,255}))(?::(?P<port>[0-9]{0,5}))?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address. Listening on port 0 selects a free port."""

    host: str  # a name or an IP address, IPv6 without brackets
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse HOST:PORT. Raises `ValueError`, whose text states what is allowed."""
        host, port = split_host(text) or (None, None)
        if host is None or port is None:
            raise ValueError(
                f"must be HOST:PORT, such as 127.0.0.1:8989 or [::1]:8989, with a port from 0"
                f" to 65535, got {redacted(text)}"
            )
        return cls(host, port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; of names, only localhost counts."""
        ip = parse_ip(self.host)
        return self.host.lower() == "localhost" if ip is None else ip.is_loopback

    @property
    def is_wildcard(self) -> bool:
        """Whether it means all addresses of a machine."""
        ip = parse_ip(self.host)
        return ip is not None and ip.is_unspecified

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def split_host(text: str) -> tuple[str, int | None] | None:
    """Split HOST or HOST:PORT, as a Host header has it; return None if the text is neither.

    An IPv6 address is in brackets; it is returned without them. An empty port is none.
    """
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None or (found["v6"] and not is_ipv6(found["v6"])):
        return None
    port = int(found["port"]) if found["port"] else None
    return None if port is not None and port > MAX_PORT else (found["v6"] or found["host"], port)


def parse_ip(text: str) -> IpAddress | None:
    """Parse an IP address; return None if the text is not one.

    `ipaddress.ip_address` takes longer for IPv6, since it tries IPv4 first.
    """
    try:
        return IPv6Address(text) if ":" in text else IPv4Address(text)
    except ValueError:
        return None


def is_ipv6(text: str) -> bool:
    """Return whether a text is an IPv6 address, without brackets."""
    return isinstance(parse_ip(text), IPv6Address)


def packed_address(text: str) -> bytes:
    """Return an IP address as 4 or 16 bytes; none of another text."""
    for family in (AF_INET, AF_INET6):
        try:
            return inet_pton(family, text)
        except (OSError, ValueError):
            continue
    return b""


def packed_remote(text: str) -> bytes:
    """Return a client's address likewise, without a zone, and IPv4-mapped IPv6 as IPv4."""
    return packed_address(text.partition("%")[0]).removeprefix(MAPPED)


def written_address(packed: bytes) -> str:
    """Return the text of an address of 4 or 16 bytes."""
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def unmapped(address: IpAddress) -> IpAddress:
    """Return an IPv4-mapped IPv6 address as IPv4, and any other as it is."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
