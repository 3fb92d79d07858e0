"""The other end of a connection, as proxies and servers write it."""

from __future__ import annotations

import re

from sessiongate.runtime.addresses import MAX_PORT, parse_ip, unmapped

_PORT = re.compile(r"(.*):([0-9]{1,5})", re.DOTALL)


def split_port(text: str) -> tuple[str, int | None]:
    """Split a host from the port after the last colon; the port is None if there is none.

    An IPv6 address may lack brackets, as MariaDB and HAProxy write it.
    """
    found = _PORT.fullmatch(text)
    if found is None or int(found[2]) > MAX_PORT:
        return text, None
    return found[1], int(found[2])


def canonical_address(host: str) -> str | None:
    """Return a host's IP address in its usual form, an IPv4-mapped IPv6 address as IPv4.

    Return None if the host is a name.
    """
    found = parse_ip(host)
    return None if found is None else str(unmapped(found))


def shown_address(host: str) -> str:
    """Return an address as written, but an IPv4-mapped IPv6 address as IPv4."""
    return (host.startswith("::ffff:") and canonical_address(host)) or host


def peer(text: str) -> tuple[str, int] | None:
    """Return the IP address and port of ADDRESS:PORT; None for any other text."""
    host, port = split_port(text)
    known = canonical_address(host)
    return None if known is None or port is None else (known, port)


def is_loopback(host: str) -> bool:
    """Return whether an address is loopback, which means something else on each machine."""
    found = parse_ip(host)
    return found is not None and found.is_loopback
