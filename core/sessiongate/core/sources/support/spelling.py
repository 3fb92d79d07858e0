"""The canonical spelling of a place that sources are read from."""

from __future__ import annotations

import os
from urllib.parse import unquote

from sessiongate.runtime.addresses import parse_ip
from sessiongate.runtime.urls import HOST_AND_PORT, authority

# By kind, if a URL states no port. `mysql:` is read as `mariadb:`.
DEFAULT_PORTS = {
    "mariadb": 3306,
    "maxscale+http": 8989,
    "maxscale+https": 8989,
    "pgbouncer": 6432,
    "postgresql": 5432,
}


def one_spelling(place: str) -> str:
    """Return the canonical form, ``kind:location``, of a place.

    Hosts are in lower case and ports are stated; paths are absolute and decoded, without
    a trailing slash.
    """
    kind, _, location = place.partition(":")
    kind = "mariadb" if kind == "mysql" else kind  # both kinds read either server
    if not location:
        return place
    if not location.startswith("//"):
        return f"{kind}:{os.path.abspath(unquote(location))}"
    _, end, path = authority(location)
    found = HOST_AND_PORT.fullmatch(end)
    if found is None:
        return place
    port = found["port"] or DEFAULT_PORTS.get(kind)
    stated = f":{int(port)}" if port else ""
    path = f"/{unquote(path)}".rstrip("/")
    return f"{kind}://{_host(unquote(found['v6'] or found['host']))}{stated}{path}"


def _host(text: str) -> str:
    if text.startswith("/"):  # a Unix socket's path
        return os.path.normpath(text)
    name = text.lower().rstrip(".")
    if name == "localhost":
        return "127.0.0.1"
    address = parse_ip(name)
    if address is None:
        return name
    return f"[{address}]" if address.version == 6 else str(address)
