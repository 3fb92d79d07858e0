"""Excerpts of JSON values that may be too large to read: as much as fits, as valid JSON.

The value is copied while it arrives. Long strings are cut. Once the copy is large, or would
take long to read, further items of nested arrays and objects are left out. The members of
objects on the first levels are kept as long as possible.
"""

from __future__ import annotations

import re

from sessiongate.core.sources.support.lenient_json import loads

_SPECIAL = re.compile(rb'["\[\]{},]')
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s]*+")
# The end of a string that was cut within an escape, or within a pair of them.
_HALF_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")
_HALF_PAIR = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})\Z")

MAX_STRING = 1024 * 1024  # bytes of a string; below: of one that begins after the limit is reached
_SHORT_STRING = 4096
_ESCAPES = 8  # this many take as long to read as one value
_KEPT = 3  # levels of objects, and one level less of arrays, that keep all their items
_LONGEST_NAME = 100
# The fields of the contract that a member fills if they have other names; of an object, by its
# members; "": the object itself.
_FIELDS = {
    b"id": {b"": "native_id"},
    b"client": {b"": "connection_attributes", b"cipher": "tls_cipher"},
}
_MORE = 1.25


class Excerpt:
    """Follows one value from its first byte, and copies as much as fits.

    ``text`` is the copy. ``cut`` holds the paths of incomplete members, down to three
    levels, such as ("attributes", "client", "cipher"). ``ended`` is whether the value has
    ended.
    """

    def __init__(self, most: int, max_weight: int) -> None:
        """Copy up to ``most`` bytes, and what takes as long to read as ``max_weight`` small values.

        Beyond that, another quarter is reserved for the members on the first levels.
        """
        self.text = bytearray()
        self.cut: set[tuple[bytes, ...]] = set()
        self.ended = False
        self._most = most
        self._max_weight = max_weight
        self._weight = 0.0
        self._closing: list[bytes] = []  # brackets of the arrays and objects that are copied
        self._names: list[bytes] = []  # the last name in each of them; empty in an array
        self._skipped: int | None = None  # the depth within what is left out
        self._is_begun = False
        self._begins_item = False
        self._needs_comma = False
        self._is_name = False  # the next string is one
        self._room: int | None = None  # bytes that a string may still have; None outside strings

    def follow(self, data: bytes, start: int, stop: int) -> int:
        """Follow the value from ``start`` to its end, at most to ``stop``; return the position."""
        position = start
        while position < stop and not self.ended:
            if self._room is not None:
                position = self._follow_string(data, position, stop)
                if self._room is not None:
                    break
            elif self._skipped is not None:
                position = self._skip(data, position, stop)
            elif self._closing or not self._is_begun:
                position = self._copy(data, position, stop)
            else:
                position = self._copy_scalar(data, position, stop)
        return position

    def value(self, line: int, column: int) -> object:
        """Return the copy. If attributes are cut, their ``truncated`` names the fields.

        The value begins at ``line`` and ``column``. Raises `JsonError`.
        """
        value = loads(bytes(self.text), line, column)
        attributes = value.get("attributes") if isinstance(value, dict) else None
        if self.cut and isinstance(attributes, dict):
            names = {_field(*path) for path in self.cut} - {"truncated"}
            stated = attributes.get("truncated")
            before = stated if isinstance(stated, list) else []
            attributes["truncated"] = [*before, *sorted(names)]
        return value

    @property
    def _is_over(self) -> bool:
        return len(self.text) > self._most or self._weight > self._max_weight

    @property
    def _is_far_over(self) -> bool:
        return len(self.text) > _MORE * self._most or self._weight > _MORE * self._max_weight

    def _copy(self, data: bytes, start: int, stop: int) -> int:
        if not self._is_begun and data[start] not in b'"[{':
            self._is_begun = True
            return start
        self._is_begun = True
        if self._begins_item and self._leaves_out():
            self._skipped = 0
            return start
        found = _SPECIAL.search(data, start, stop)
        mark = found[0] if found else b""
        between = data[start : found.start() if found else stop]
        if between.strip() or (mark and mark not in b"]}"):
            self._begin_item()
        self.text += between
        if found is None:
            return stop
        self._weight += 1
        if mark == b'"':
            self._begin_string()
        elif mark in b"[{":
            self.text += mark
            self._closing.append(b"]" if mark == b"[" else b"}")
            self._names.append(b"")
            self._begins_item, self._needs_comma = True, False
            self._is_name = mark == b"{"
        elif mark == b",":
            self._begins_item = self._needs_comma = True
            self._is_name = self._closing[-1] == b"}"
        else:
            self._close(mark)
        return found.end()

    def _leaves_out(self) -> bool:
        """Return whether further items of the current array or object are left out."""
        depth, is_array = len(self._closing), self._closing[-1] == b"]"
        is_nested = depth > _KEPT or (depth == _KEPT and is_array)
        return self._is_far_over or (self._is_over and is_nested)

    def _begin_item(self) -> None:
        """Write the pending comma before an item."""
        self._begins_item = False
        if self._needs_comma:
            self.text += b","
            self._needs_comma = False

    def _close(self, mark: bytes) -> None:
        if self._needs_comma:
            self.text += b","  # keep this fault, a comma before a bracket, for the parser to report
        self.text += mark
        self._begins_item = self._needs_comma = self._is_name = False
        self._closing.pop()
        self._names.pop()
        self.ended = not self._closing

    def _begin_string(self) -> None:
        self.text += b'"'
        self._room = _SHORT_STRING if self._is_over else MAX_STRING
        if self._is_name:
            self._names[-1] = b""

    def _follow_string(self, data: bytes, start: int, stop: int) -> int:
        found = _STRING.match(data, start, stop)
        end = found.end() if found else start
        is_closed = end < stop and data[end : end + 1] == b'"'
        piece = data[start:end]
        if self._skipped is None:
            self._copy_string(piece)
        if is_closed:
            if self._skipped is None:
                self.text += b'"'
                self._is_name = False
                self.ended = not self._closing
            self._room = None
            return end + 1
        return end  # a backslash may follow, whose escaped character has not arrived

    def _copy_string(self, piece: bytes) -> None:
        assert self._room is not None  # noqa: S101 - within a string
        kept = piece[: self._room]
        if len(kept) < len(piece):
            if self._room:
                for half in (_HALF_ESCAPE, _HALF_PAIR):
                    kept = kept[: found.start(1)] if (found := half.search(kept)) else kept
                kept = kept.decode(errors="ignore").encode()
            self._room = 0
            self._note()
        else:
            self._room -= len(kept)
        self._weight += kept.count(b"\\") / _ESCAPES
        self.text += kept
        if self._is_name:
            self._names[-1] = (self._names[-1] + kept)[:_LONGEST_NAME]

    def _note(self) -> None:
        """Record the current member as incomplete."""
        self.cut.add(tuple(self._names[:3]))

    def _skip(self, data: bytes, start: int, stop: int) -> int:
        """Skip items, up to the bracket that closes the enclosing array or object."""
        found = _SPECIAL.search(data, start, stop)
        end = found.start() if found else stop
        if data[start:end].strip():
            self._note()
        if found is None:
            return stop
        mark = found[0]
        assert self._skipped is not None  # noqa: S101 - checked by the caller
        if mark == b'"':
            self._room = 0
        elif mark in b"[{":
            self._skipped += 1
        elif mark in b"]}" and not self._skipped:
            self._skipped = None
            self._begins_item = self._needs_comma = False
            self._close(mark)
            return found.end()
        elif mark in b"]}":
            self._skipped -= 1
        if mark not in b"]}":
            self._note()
        return found.end()

    def _copy_scalar(self, data: bytes, start: int, stop: int) -> int:
        found = _SCALAR.match(data, start, stop)
        end = found.end() if found else start
        self.text += data[start : min(end, start + _SHORT_STRING)]
        self.ended = end < stop
        return end


def _field(*path: bytes) -> str:
    """Return the name of the field that a member of a session fills."""
    name = path[min(1, len(path) - 1)]
    fields = _FIELDS.get(name)
    if fields is None:
        return name.decode("ascii", "ignore")
    return fields.get(path[-1], fields[b""])
