"""Cells of an answer in PostgreSQL's protocol: a text's bytes, or None for NULL.

What a cell should hold is for its reader to know; what one holds may be anything
that a client or a version thought of.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from socket import AF_INET, AF_INET6
from typing import NamedTuple, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from core.sources.base import Unreadable, UnreadableError
from core.sources.moments import timestamp

Cell = bytes | None

_NUMBER = re.compile(rb"-?[0-9]{1,19}")
_MAX_PORT = 65535
_T = TypeVar("_T")


def text(cell: bytes) -> str:
    """A text as UTF-8, as far as it is: names of clients and databases may be any bytes."""
    return cell.decode(errors="replace")


def number(cell: bytes, low: int, high: int) -> int:
    """A whole number within these bounds. Raises `UnreadableError`, as the other readers do."""
    if _NUMBER.fullmatch(cell) and low <= (value := int(cell)) <= high:
        return value
    raise UnreadableError(f"expected a whole number from {low} to {high}")


def big(cell: bytes) -> int:
    """A whole number of 64 bits."""
    return number(cell, -(2**63), 2**63 - 1)


def tcp_port(cell: bytes) -> int:
    """A TCP port."""
    return number(cell, 1, _MAX_PORT)


def ip_address(cell: bytes) -> str:
    """An IP address, as it is written."""
    host = text(cell)
    try:
        socket.inet_pton(AF_INET6 if ":" in host else AF_INET, host.partition("%")[0])
    except (OSError, ValueError):
        raise UnreadableError("expected an IP address") from None
    return host


def moment(cell: bytes) -> Timestamp:
    """A time, from microseconds since the epoch."""
    try:
        return timestamp(big(cell) * 1000)
    except ValueError:
        raise UnreadableError("expected a time of the years 1678 to 2261") from None


def truth(cell: bytes) -> bool:
    """True or false."""
    if cell not in (b"t", b"f"):
        raise UnreadableError("expected t or f")
    return cell == b"t"


def octets(cell: bytes) -> bytes:
    """Bytes, from the digits that they are written in."""
    try:
        if not cell.startswith(b"\\x"):
            raise ValueError
        return bytes.fromhex(cell[2:].decode("ascii"))
    except ValueError:
        raise UnreadableError("expected hexadecimal digits") from None


class Members:
    """Reads the members of one session, and remembers which could not be read."""

    def __init__(self, place: str, row: NamedTuple) -> None:
        """``row`` is of the cells; ``place`` says where they are from."""
        self.row = row
        self._place = place
        self._unreadable: list[Unreadable] = []

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """Those that could not be read, so far."""
        return tuple(self._unreadable)

    def read(self, column: str, reader: Callable[[bytes], _T], *fields: str) -> _T | None:
        """What a column holds, which goes to ``fields`` of the session.

        None where it says nothing, or cannot be read.
        """
        cell: Cell = getattr(self.row, column)
        if cell is None:
            return None
        try:
            return reader(cell)
        except UnreadableError as error:
            self._unreadable.append(Unreadable(f"{self._place} {column}: {error}", fields))
            return None
