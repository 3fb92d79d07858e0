"""The other end of a connection, as proxies and servers write it in their answers."""

from __future__ import annotations

import re
from ipaddress import ip_address

_PORT = re.compile(r"(.*):([0-9]{1,5})", re.DOTALL)
_MAX_PORT = 65535


def split_port(text: str) -> tuple[str, int | None]:
    """Split a host from the port after the last colon; the port is None if there is none.

    IPv6 may be without brackets, as MariaDB and HAProxy write it.
    """
    found = _PORT.fullmatch(text)
    if found is None or int(found[2]) > _MAX_PORT:
        return text, None
    return found[1], int(found[2])


def canonical_address(host: str) -> str | None:
    """Return a host's IP address in its usual form, an IPv4-mapped IPv6 address as IPv4.

    Return None if the host is a name.
    """
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return str((found.version == 6 and found.ipv4_mapped) or found)


def peer(text: str) -> tuple[str, int] | None:
    """Return the IP address and port of ADDRESS:PORT; None if the text is anything else."""
    host, port = split_port(text)
    known = canonical_address(host)
    return None if known is None or port is None else (known, port)


def is_loopback(host: str) -> bool:
    """Return whether an address is loopback, which is a different machine on each machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
