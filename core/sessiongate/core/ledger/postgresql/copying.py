"""Rows as PostgreSQL's COPY reads them as text, one in a line, to be sent at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_NULL = "\\N"
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
# No text of PostgreSQL's holds a NUL. It becomes this and a letter, and so does what stands for it.
_MARK = "\x01"
_STORED = str.maketrans({"\x00": f"{_MARK}0", _MARK: f"{_MARK}1"})


def lines_of(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as lines. Raises `UnicodeEncodeError` for what is not Unicode."""
    return "".join(map(line_of, rows)).encode()


def line_of(row: Sequence[Any]) -> str:
    """Return a row as a line; a text that it stores may have a NUL (see `storable`)."""
    line = "\t".join([_NULL if value is None else f"{value}" for value in row])
    # Hardly any has something to escape: looking once at all of it is faster than at each value.
    if (
        line.count("\t") == len(row) - 1
        and line.count("\\") == row.count(None)
        and "\n" not in line
        and "\r" not in line
        and "\x00" not in line
        and _MARK not in line
    ):
        return f"{line}\n"
    return "\t".join([_escaped(value) for value in row]) + "\n"


def storable(text: str) -> str:
    """Return a text as it is stored: PostgreSQL's have no NUL."""
    return text.translate(_STORED) if "\x00" in text or _MARK in text else text


def stated(text: str) -> str:
    """Return the text that is stored as this one."""
    if _MARK not in text:
        return text
    return text.replace(f"{_MARK}0", "\x00").replace(f"{_MARK}1", _MARK)


def storable_value(value: Any) -> Any:
    """Return a value as it is stored (`storable`)."""
    return storable(value) if isinstance(value, str) else value


def stated_value(value: Any) -> Any:
    """Return the value that is stored as this one (`stated`)."""
    return stated(value) if isinstance(value, str) else value


def hexadecimal(value: bytes | None) -> str | None:
    """Return bytes as the text of a ``bytea``."""
    return None if value is None else f"\\x{value.hex()}"


def _escaped(value: object) -> str:
    if value is None:
        return _NULL
    return storable(f"{value}").translate(_ESCAPES)
