"""Cells of an answer in PostgreSQL's protocol: a text's bytes, or None for NULL.

What a cell should hold is for its reader to know; what one holds may be anything
that a client or a version thought of.
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

Cell = bytes | None

_NUMBER = re.compile(rb"-?[0-9]{1,19}")
_MAX_PORT = 65535
_T = TypeVar("_T")


# What PostgreSQL calls the encodings that its databases can have, and Python. UTF8 is
# tried anyway; the others say nothing (SQL_ASCII), or Python does not know them.
CODECS = {
    **{f"LATIN{part}": f"latin{part}" for part in range(1, 11)},
    **{f"ISO_8859_{part}": f"iso8859_{part}" for part in range(5, 9)},
    **{f"WIN{page}": f"cp{page}" for page in (866, 874, *range(1250, 1259))},
    **{"KOI8R": "koi8_r", "KOI8U": "koi8_u"},
    **{"EUC_CN": "gb2312", "EUC_JP": "euc_jp", "EUC_KR": "euc_kr"},
    **{"EUC_JIS_2004": "euc_jis_2004"},
}


def decode_text(cell: bytes, codec: str | None = None, *, is_cut: bool = False) -> str:
    """A text as UTF-8, else by ``codec``, else as far as it is UTF-8.

    One that ``is_cut`` may end within a character, which is left out then.
    """
    try:
        return _decoded(cell, "utf-8", "strict", is_cut)
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
    """A whole number within these bounds. Raises `UnreadableError`, as the other readers do."""
    if _NUMBER.fullmatch(cell) and low <= (value := int(cell)) <= high:
        return value
    raise UnreadableError(f"expected a whole number from {low} to {high}")


def read_bigint(cell: bytes) -> int:
    """A whole number of 64 bits."""
    return read_integer(cell, -(2**63), 2**63 - 1)


def read_port(cell: bytes) -> int:
    """A TCP port."""
    return read_integer(cell, 1, _MAX_PORT)


def read_address(cell: bytes) -> str:
    """An IP address, as it is written."""
    host = decode_text(cell)
    try:
        socket.inet_pton(AF_INET6 if ":" in host else AF_INET, host.partition("%")[0])
    except (OSError, ValueError):
        raise UnreadableError("expected an IP address") from None
    return host


def read_timestamp(cell: bytes) -> Timestamp:
    """A time, from microseconds since the epoch."""
    try:
        return timestamp(read_bigint(cell) * 1000)
    except ValueError:
        raise UnreadableError("expected a time of the years 1678 to 2261") from None


def read_boolean(cell: bytes) -> bool:
    """True or false."""
    if cell not in (b"t", b"f"):
        raise UnreadableError("expected t or f")
    return cell == b"t"


def read_octets(cell: bytes) -> bytes:
    """Bytes, from the digits that they are written in."""
    try:
        if not cell.startswith(b"\\x"):
            raise ValueError
        return bytes.fromhex(cell[2:].decode("ascii"))
    except ValueError:
        raise UnreadableError("expected hexadecimal digits") from None


class RowReader:
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
