"""Addresses of clients, and networks, as numbers.

IPv4 addresses, and IPv4-mapped ones of IPv6, are the numbers below 2^32; all others of
IPv6 follow.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from sys import intern
from typing import NamedTuple, TypeAlias

from sessiongate.runtime.addresses import (
    MAPPED,
    packed_address,
    packed_remote,
    written_address,
)

_IPV6 = 1 << 32  # the number of the first IPv6 address


# Where a client is: the number of its address, or another text, as a Unix socket's path.
Remote: TypeAlias = int | str


class AddressRange(NamedTuple):
    """A range of addresses."""

    first: int
    last: int


class Networks:
    """Networks as disjoint ranges, ascending, for quick look-ups of an address."""

    def __init__(self, networks: Iterable[AddressRange] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(networks):
            if self._lasts and first <= self._lasts[-1]:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __iter__(self) -> Iterator[AddressRange]:
        """Iterate over the disjoint ranges."""
        return map(AddressRange, self._firsts, self._lasts)

    def hold(self, remote: Remote | None) -> bool:
        """Return whether a remote is an address that one of them contains."""
        if not isinstance(remote, int):
            return False
        place = bisect_right(self._firsts, remote)
        return place > 0 and remote <= self._lasts[place - 1]


def remote_of(text: str) -> Remote:
    """Return the number of a client's address, without a zone; another text as it is."""
    packed = packed_remote(text)
    return _number(packed) if packed else intern(text)


def remote_text(remote: Remote) -> str:
    """Return the text of a remote; that of an address in one spelling."""
    if isinstance(remote, str):
        return remote
    packed = remote.to_bytes(4) if remote < _IPV6 else (remote - _IPV6).to_bytes(16)
    return written_address(packed)


def network_of(text: str) -> AddressRange:
    """Read a network or one address, IPv4-mapped IPv6 as IPv4. Raises `ValueError`."""
    address, slash, length = text.partition("/")  # `ip_network` would take thirty times as long
    host, percent, zone = address.partition("%")
    packed = packed_address(host)
    if not packed or (percent and (len(packed) == 4 or not zone or "%" in zone)):
        raise ValueError("this is not an address")
    prefix = _prefix(length, len(packed)) if slash else 8 * len(packed)
    if packed.startswith(MAPPED) and prefix >= 8 * len(MAPPED):
        packed, prefix = packed[len(MAPPED) :], prefix - 8 * len(MAPPED)
    if prefix > 8 * len(packed):
        raise ValueError("the prefix is longer than the address")
    hosts = (1 << 8 * len(packed) - prefix) - 1
    if int.from_bytes(packed) & hosts:
        raise ValueError("the address has bits after the prefix")
    first = _number(packed)
    return AddressRange(first, first + hosts)


def _prefix(text: str, size: int) -> int:
    """Read the length of a prefix, or a mask of IPv4, of the network or of its hosts."""
    if text.isascii() and text.isdigit():
        return int(text)
    mask = packed_address(text)
    if size == len(mask) == 4:
        for hosts in (int.from_bytes(mask) ^ (_IPV6 - 1), int.from_bytes(mask)):
            if not hosts & (hosts + 1):
                return 32 - hosts.bit_length()
    raise ValueError("this is not the length of a prefix")


def _number(packed: bytes) -> int:
    number = int.from_bytes(packed)
    return number if len(packed) == 4 else number + _IPV6
