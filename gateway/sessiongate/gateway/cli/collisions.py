"""Refuses listeners with the same port of the same address."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from itertools import combinations

import typer

from sessiongate.gateway.cli.origin import place, refuse
from sessiongate.runtime.addresses import Address, parse_ip

_ALL = {"0.0.0.0": 4, "::": 6}  # noqa: S104 - not bound


def refuse_collisions(context: typer.Context, listeners: Mapping[str, str | None]) -> None:
    """Refuse a listener whose address an earlier one has. ``listeners`` are by setting.

    Nothing is opened: the listeners of other programs are not checked.
    """
    given = [(name, where) for name, where in listeners.items() if where is not None]
    for (name, where), (later, other) in combinations(given, 2):
        if _collide(where, other, either_is_grpc="grpc" in (name, later)):
            text = f"{other} is already used by {place(context, name)}; choose another port"
            refuse(context, text, later)


def _collide(where: str, other: str, *, either_is_grpc: bool) -> bool:
    if where.startswith("unix:") or other.startswith("unix:"):
        return where == other
    first, second = Address.parse(where), Address.parse(other)
    if not first.port or first.port != second.port:
        return False
    hosts = [_numeric(each.host) for each in (first, second)]
    if hosts[0] == hosts[1]:
        return True
    if not any(host in _ALL for host in hosts):
        return False
    # gRPC listens on all addresses of both families if configured for all of one.
    return either_is_grpc or len({_family(host) for host in hosts}) == 1


def _numeric(host: str) -> str:
    """Return a host's address, if it is known without a name service, else the host."""
    if host.lower() == "localhost":
        try:
            return str(socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][4][0])
        except OSError:
            return host
    return str(parse_ip(host) or host.lower())


def _family(host: str) -> int:
    found = parse_ip(host)
    return found.version if found else 0
