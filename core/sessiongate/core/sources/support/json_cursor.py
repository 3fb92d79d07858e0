"""A value in a parsed JSON document, with its place in the document."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator

from sessiongate.core.sources.base import UnreadableError

_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
_KINDS |= {int: "a number", float: "a number", type(None): "null"}
_DIGITS = re.compile("[0-9]{1,20}")  # as many as 64 bits can have
_SHOWN = 60  # characters of a document that an error repeats


class JsonCursor:
    """A JSON value and the path to it from the document's root.

    Each reader returns the value as the type it must have, or raises `UnreadableError`
    that begins with its place, a JSON Pointer (RFC 6901), and repeats no value.
    """

    __slots__ = ("_name", "_parent", "value")

    def __init__(
        self, value: object, parent: JsonCursor | None = None, name: str | int = ""
    ) -> None:
        self.value = value
        # The pointer is built only when an error needs it.
        self._parent = parent
        self._name = name

    @property
    def pointer(self) -> str:
        """The JSON Pointer to this value, after the root's name."""
        if self._parent is None:
            return str(self._name)
        name = str(self._name).replace("~", "~0").replace("/", "~1")
        return f"{self._parent.pointer}/{ascii_excerpt(name)}"

    def wrong(self, reason: str) -> UnreadableError:
        """Return an error that names this place and the fault."""
        return UnreadableError(f"{self.pointer or 'the document'}: {reason}")

    def expected(self, what: str) -> UnreadableError:
        """Return an error that names what was expected here, and the kind of value found."""
        return self.wrong(f"expected {what}, found {_KINDS[type(self.value)]}")

    def optional(self, name: str) -> JsonCursor | None:
        """Return a member of this object; None if it is absent or null."""
        if not isinstance(self.value, dict):
            raise self.expected("an object")
        value = self.value.get(name)
        return None if value is None else JsonCursor(value, self, name)

    def member(self, name: str) -> JsonCursor:
        """Return a member that this object must have."""
        place = self.optional(name)
        if place is None:
            raise JsonCursor(None, self, name).wrong("missing")
        return place

    def object(self) -> dict[str, object]:
        """Return this object, which may have any members."""
        if not isinstance(self.value, dict):
            raise self.expected("an object")
        return self.value

    def items(self) -> Iterator[JsonCursor]:
        """Return every item of this array."""
        if not isinstance(self.value, list):
            raise self.expected("an array")
        return (JsonCursor(value, self, index) for index, value in enumerate(self.value))

    def text(self) -> str:
        """Return this string, which must have no lone surrogate: protobuf cannot hold one."""
        if not isinstance(self.value, str):
            raise self.expected("a string")
        if not is_unicode(self.value):
            raise self.wrong("expected Unicode text, found half of a surrogate pair")
        return self.value

    def number(self) -> float:
        """Return this number, which must be finite."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.expected("a number")
        try:
            number = float(self.value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.wrong("expected a finite number")
        return number

    def natural(self, bits: int, *, or_digits: bool = False) -> int:
        """Return this integer, from 0 to 2^bits - 1; ``or_digits`` also allows it as a string."""
        value = self.value
        if or_digits and isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.expected("an integer")
        if not 0 <= value < 1 << bits:
            raise self.wrong(f"expected an integer from 0 to {(1 << bits) - 1}")
        return value


def is_unicode(text: str) -> bool:
    """Return whether protobuf can hold a text: JSON can contain lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def ascii_excerpt(text: str) -> str:
    """Shorten text of a document for an error to repeat: one line of ASCII."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return json.dumps(cut)[1:-1]
