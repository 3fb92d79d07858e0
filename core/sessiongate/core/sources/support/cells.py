"""Cells of a result in PostgreSQL's protocol: the bytes of a text, or None for NULL.

Each reader expects one type of value, but a cell may hold anything that a client or
a server version produces.
"""

from __future__ import annotations

import codecs
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from socket import AF_INET, AF_INET6
from typing import NamedTuple, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.sources.base import Unreadable, UnreadableError
from sessiongate.core.sources.support.moments import timestamp
from sessiongate.runtime.addresses import MAX_PORT

Cell = bytes | None

_DIGITS = 19  # of a number
_NUMBER = re.compile(rb"-?[0-9]{1,%d}" % _DIGITS)
_T = TypeVar("_T")


# Python's codecs by PostgreSQL's names of database encodings. UTF-8 is always tried first;
# other names state no encoding (SQL_ASCII) or one that Python does not have.
CODECS = {
    **{f"LATIN{part}": f"latin{part}" for part in range(1, 11)},
    **{f"ISO_8859_{part}": f"iso8859_{part}" for part in range(5, 9)},
    **{f"WIN{page}": f"cp{page}" for page in (866, 874, *range(1250, 1259))},
    **{"KOI8R": "koi8_r", "KOI8U": "koi8_u"},
    **{"EUC_CN": "gb2312", "EUC_JP": "euc_jp", "EUC_KR": "euc_kr"},
    **{"EUC_JIS_2004": "euc_jis_2004"},
}


def decode_text(cell: bytes, codec: str | None = None, *, is_cut: bool = False) -> str:
    """Decode text as UTF-8, else with ``codec``, else as UTF-8 with replacement characters.

    If ``is_cut``, the text may end within a character, which is left out.
    """
    try:
        return _decoded(cell, "utf-8", "strict", is_cut) if is_cut else cell.decode()
    except UnicodeDecodeError:
        with suppress(UnicodeDecodeError):
            if codec is not None:
                return _decoded(cell, codec, "strict", is_cut)
        return _decoded(cell, "utf-8", "replace", is_cut)


def _decoded(cell: bytes, codec: str, errors: str, is_cut: bool) -> str:
    if is_cut:
        return codecs.getincrementaldecoder(codec)(errors).decode(cell)
    return cell.decode(codec, errors)


def read_integer(cell: bytes, low: int, high: int) -> int:
    """Read an integer within bounds. Raises `UnreadableError`, as all readers here do."""
    is_short = len(cell) <= _DIGITS and cell.isdigit()  # the usual one; an expression takes longer
    if (is_short or _NUMBER.fullmatch(cell)) and low <= (value := int(cell)) <= high:
        return value
    raise UnreadableError(f"expected an integer from {low} to {high}")


def read_bigint(cell: bytes) -> int:
    """Read a 64-bit integer."""
    return read_integer(cell, -(2**63), 2**63 - 1)


def read_port(cell: bytes) -> int:
    """Read a TCP port."""
    return read_integer(cell, 1, MAX_PORT)


def read_address(cell: bytes) -> str:
    """Read an IP address, and return it as written."""
    host = decode_text(cell)
    try:
        socket.inet_pton(AF_INET6 if ":" in host else AF_INET, host.partition("%")[0])
    except (OSError, ValueError):
        raise UnreadableError("expected an IP address") from None
    return host


def read_timestamp(cell: bytes) -> Timestamp:
    """Read a time, given in microseconds since the epoch."""
    try:
        return timestamp(read_bigint(cell) * 1000)
    except ValueError:
        raise UnreadableError("expected a time from the years 1678 to 2261") from None


def read_boolean(cell: bytes) -> bool:
    """Read a boolean."""
    if cell not in (b"t", b"f"):
        raise UnreadableError("expected t or f")
    return cell == b"t"


def read_octets(cell: bytes) -> bytes:
    """Read bytes from hexadecimal digits."""
    try:
        if not cell.startswith(b"\\x"):
            raise ValueError
        return bytes.fromhex(cell[2:].decode("ascii"))
    except ValueError:
        raise UnreadableError("expected hexadecimal digits") from None


class RowReader:
    """Reads the members of one session, and records those that cannot be read."""

    def __init__(self, place: str, row: NamedTuple) -> None:
        """Read the cells of ``row``; ``place`` is their origin, for errors."""
        self.row = row
        self._place = place
        self._unreadable: list[Unreadable] = []

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """The members that could not be read so far."""
        return tuple(self._unreadable)

    def read(self, column: str, reader: Callable[[bytes], _T], *fields: str) -> _T | None:
        """Read a column, which fills ``fields`` of the session.

        Return None if it is NULL or cannot be read.
        """
        cell: Cell = getattr(self.row, column)
        if cell is None:
            return None
        try:
            return reader(cell)
        except UnreadableError as error:
            self._unreadable.append(Unreadable(f"{self._place} {column}: {error}", fields))
            return None
