"""Cells of a result of MariaDB or MySQL: the bytes of a text, or None for NULL."""

from __future__ import annotations

import re

from sessiongate.core.sources.support.cells import Cell

_DIGITS = 20  # 64 bits have no more
_NUMBER = re.compile(rb"-?[0-9]{1,%d}" % _DIGITS)


def decoded(cell: bytes) -> str:
    """Decode text that the server sent, in which clients can put any bytes."""
    return cell.decode(errors="replace")


def integer(cell: Cell) -> int | None:
    """Read an integer that the server sent; None if it is not one."""
    if cell is None:
        return None
    is_short = len(cell) <= _DIGITS and cell.isdigit()  # the usual one; an expression takes longer
    return int(cell) if is_short or _NUMBER.fullmatch(cell) else None
