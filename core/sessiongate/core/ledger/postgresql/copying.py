"""Rows as PostgreSQL's COPY reads them as text, one in a line, to be sent at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# What Python writes for None, so that a row needs no look at each of its values. A text that is
# the same is escaped.
NULL = "None"
_OPTIONS = f"(FORMAT text, NULL '{NULL}')"
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
# No text of PostgreSQL's holds a NUL. It becomes this and a letter, and so does it itself.
_MARK = "\x01"
_STORED = str.maketrans({"\x00": f"{_MARK}0", _MARK: f"{_MARK}1"})
_SPECIAL = ("\\", "\r", "\x00", _MARK)


def copy_into(table: str, columns: Sequence[str]) -> str:
    """Return the statement that reads rows with these columns."""
    return f"COPY {table} ({quoted_columns(columns)}) FROM STDIN WITH {_OPTIONS}"


def quoted_columns(columns: Sequence[str]) -> str:
    """Return columns as a statement names them: "user" means something else in SQL."""
    return ", ".join(f'"{column}"' for column in columns)


def lines_of(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Return rows of one length as lines; a text may have a NUL (see `storable`).

    Raises `UnicodeEncodeError` for what is not Unicode.
    """
    if not rows:
        return b""
    length = len(rows[0])
    line = "%s\t" * (length - 1) + "%s\n"
    text = "".join([line % row for row in rows])
    # Hardly any value has something to escape: one look at all of them is fast.
    is_plain = (
        text.count("\t") == len(rows) * (length - 1)
        and text.count("\n") == len(rows)
        and text.count(NULL) == sum([row.count(None) for row in rows])
        and not any(map(text.__contains__, _SPECIAL))
    )
    if not is_plain:
        text = "".join([line % tuple(map(_escaped, row)) for row in rows])
    return text.encode()


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
        return NULL
    text = storable(f"{value}").translate(_ESCAPES)
    return f"\\x{ord(NULL[0]):x}{NULL[1:]}" if text == NULL else text
