"""TCP links as a core states them to fronts: which machine or network each address is of.

The same private address is another server's on another network, and loopback is another one on
each machine: a front, which links sessions of many cores, must not take them for one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, lru_cache
from ipaddress import IPv6Network
from pathlib import Path

from sessiongate.core.sources.base import SourceConfig, TcpLink
from sessiongate.core.sources.locality import is_of_this_machine
from sessiongate.runtime.addresses import parse_ip, split_host, unmapped
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Session

MAX_OPENED = 100  # links that are stated of those opened for one session
# Of NAT64, 6to4 and Teredo: they have IPv4 addresses in them, which may be private.
_EMBEDDING = tuple(map(IPv6Network, ("64:ff9b::/32", "2002::/16", "2001::/32")))
_KNOWN = 10_000  # addresses whose text is remembered, of each source


class Scopes:
    """The scopes of the addresses that a core's sources state."""

    def __init__(self, network: str, machine: str | None = None) -> None:
        """Name the network of private addresses, and this machine: by default, as it runs now."""
        self._network = network
        self._machine = machine or machine_name()

    def of(self, config: SourceConfig) -> SourceScopes:
        """Return the scopes of a source's addresses.

        Its loopback is this machine's if it is read here; else that of the host it is read from.
        A shared source may be the end of a tunnel: its name in the network identifies it, which is
        no host's.
        """
        if not is_of_this_machine(config):
            place = config.place.partition("//")[2].partition("/")[0]
            host, _ = split_host(place) or (place, None)
            return SourceScopes(self._network, f"{self._network}/{host}")
        if config.shared:
            return SourceScopes(self._network, f"{self._network}/source/{config.name}")
        return SourceScopes(self._network, self._machine)


class SourceScopes:
    """The scopes of one source's addresses."""

    def __init__(self, network: str, machine: str) -> None:
        self._network, self._machine = network, machine
        self._scoped = lru_cache(_KNOWN)(self._with_scope)

    def state(self, session: Session, accepted: TcpLink | None, opened: Iterable[TcpLink]) -> None:
        """State a session's TCP links in it."""
        session.ClearField("tcp_links")
        if accepted is not None:
            session.tcp_links.accepted.CopyFrom(self._link(accepted))
        for link, _ in zip(opened, range(MAX_OPENED), strict=False):
            session.tcp_links.opened.append(self._link(link))

    def _link(self, link: TcpLink) -> session_pb2.TcpLink:
        return session_pb2.TcpLink(
            client=self._end(link.client), server=self._end(link.server), server_id=link.server_id
        )

    def _end(self, end: tuple[str, int] | None) -> str:
        return "" if end is None else f"{self._scoped(end[0])}:{end[1]}"

    def _with_scope(self, address: str) -> str:
        if (parsed := parse_ip(address)) is None:
            return f"{address}@{self._machine}"
        ip = unmapped(parsed)
        if ip.is_loopback or ip.is_link_local:
            return f"{ip}@{self._machine}"
        is_unique = ip.is_global and not any(ip in each for each in _EMBEDDING)
        return str(ip) if is_unique else f"{ip}@{self._network}"


@cache
def machine_name() -> str:
    """Return a name for this machine and its loopback that is unique until it restarts.

    If it cannot be read, each start of a program counts as a machine of its own.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        loopback = os.stat("/proc/self/ns/net")
        unique = f"{boot} {loopback.st_dev} {loopback.st_ino}"
        return hashlib.sha256(unique.encode()).hexdigest()[:16]
    return secrets.token_hex(8)
