"""Lenient JSON: what a parser rejects in a value makes only that value unreadable."""

from __future__ import annotations

import json
import re
from contextlib import suppress

_DEEPEST = 64  # levels of arrays and objects; no value that is used is nested more deeply
_LONGEST = 400  # digits of an integer
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


class JsonError(ValueError):
    """The text is not JSON; the message gives the position."""


def loads(body: bytes, line: int = 1, column: int = 1) -> object:
    """Return the value of a body, which begins at this line and column of the whole text.

    Bytes that are not UTF-8 become U+FFFD, control characters may occur in strings, and
    values nested too deeply or with too many digits become NaN, which no reader accepts.
    Raises `JsonError`.
    """
    with suppress(ValueError, RecursionError):
        value: object = json.loads(body.decode())
        return value
    text = body.decode("utf-8-sig", errors="replace")
    try:
        value = json.loads(_flattened(text), strict=False, parse_int=_whole)
    except json.JSONDecodeError as error:
        column = error.colno + (column - 1 if error.lineno == 1 else 0)
        raise JsonError(f"line {line + error.lineno - 1}, column {column}: {error.msg}") from None
    return value


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST else float("nan")


def _flattened(text: str) -> str:
    """Return the text with NaN in place of what is nested too deeply."""
    kept, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            if depth == _DEEPEST:
                kept.append(text[start : token.start()])
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
            if depth == _DEEPEST:
                kept.append("NaN")
                start = token.end()
    return "".join((*kept, text[start:])) if depth <= _DEEPEST else text[:start]
