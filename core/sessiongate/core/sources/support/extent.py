"""Finding the end of a JSON value in bytes that arrive in parts, without parsing the value."""

from __future__ import annotations

import re

_SPECIAL = re.compile(rb'["\[\]{},]')
_SCALAR = re.compile(rb"[^,\]}\s]*+")
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_OPENING, _QUOTE = b"[{", b'"'


class Extent:
    """Follows one value from its first byte."""

    def __init__(self) -> None:
        self.ended = False
        self._depth = 0
        self._is_string = False
        self._is_begun = False

    def follow(self, data: bytes, start: int, stop: int) -> int:
        """Follow the value from ``start`` to its end, at most to ``stop``; return the position."""
        position = start
        while position < stop and not self.ended:
            if self._is_string:
                position = self._follow_string(data, position, stop)
                if self._is_string:
                    break
            elif self._depth or not self._is_begun:
                position = self._follow_value(data, position, stop)
            else:
                position = self._follow_scalar(data, position, stop)
        return position

    def _follow_string(self, data: bytes, start: int, stop: int) -> int:
        found = _STRING.match(data, start, stop)
        end = found.end() if found else start
        if data[end : end + 1] == _QUOTE and end < stop:
            self._is_string = False
            self.ended = not self._depth
            return end + 1
        return end  # a backslash may follow, whose escaped character has not arrived

    def _follow_value(self, data: bytes, start: int, stop: int) -> int:
        if not self._is_begun and data[start] not in b'"[{':
            self._is_begun = True
            return start
        self._is_begun = True
        found = _SPECIAL.search(data, start, stop)
        if found is None:
            return stop
        special = found[0]
        if special == _QUOTE:
            self._is_string = True
        elif special in _OPENING:
            self._depth += 1
        elif special != b",":
            self._depth -= 1
            self.ended = not self._depth
        return found.end()

    def _follow_scalar(self, data: bytes, start: int, stop: int) -> int:
        found = _SCALAR.match(data, start, stop)
        end = found.end() if found else start
        self.ended = end < stop
        return end
