"""The elements of a JSON document's ``data``, read while the document arrives.

Whatever the document contains, no step takes longer than reading 1,000 elements or about
128 KiB of JSON, and only what the next step needs is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, TypeAlias

from sessiongate.core.sources.base import UnreadableError
from sessiongate.core.sources.support.excerpt import Excerpt
from sessiongate.core.sources.support.extent import Extent
from sessiongate.core.sources.support.json_cursor import JsonCursor
from sessiongate.core.sources.support.lenient_json import JsonError, loads

# Bytes. An element longer than a window is still read as a whole if that takes no longer,
# because it is mostly text.
WINDOW = 128 * 1024
BATCH = 1000  # elements: a few milliseconds of work if they are as short as possible
MAX_ELEMENT = 8 * 1024 * 1024
MAX_WEIGHT = 100_000  # of an element: see `Excerpt`
_FOLLOWED = 8 * 1024  # bytes of a long element in one step

_SPACE = re.compile(rb"[ \t\n\r]*+")
_BETWEEN = re.compile(r"[ \t\n\r]*+,[ \t\n\r]*+")
_KINDS = {b"{": "an object", b"[": "an array", b'"': "a string", b"t": "a boolean"}
_KINDS |= {b"f": "a boolean", b"n": "null", b"N": "a number", b"I": "a number", b"-": "a number"}
_KINDS |= {b"%d" % digit: "a number" for digit in range(10)}
_decode = json.JSONDecoder(strict=False).raw_decode


class ElementBatch(NamedTuple):
    """Some consecutive elements."""

    first: int | None  # the index of the first one in ``data``; None if that is not an array
    values: list[object]
    text: bytes = b""  # from the first to the end of the last; empty if it is not kept

    def places(self) -> Iterator[JsonCursor]:
        """Yield the elements, each with its place."""
        for index, value in enumerate(self.values, self.first or 0):
            yield _element(value, None if self.first is None else index)


class More(NamedTuple):
    """A request for more of the document, to be passed to `Elements.feed`."""


class Pause(NamedTuple):
    """The end of a step."""


ReadStep: TypeAlias = ElementBatch | More | Pause
_MORE, _PAUSE = More(), Pause()
_Steps: TypeAlias = Generator[ReadStep, None, None]

Skim: TypeAlias = Callable[[bytes, int], tuple[int, int]]
"""How many bytes and elements at a position are known and need not be read."""


def _element(value: object, index: int | None) -> JsonCursor:
    """Return an element of ``data``; ``index`` is None if ``data`` is not an array."""
    document = JsonCursor(None)
    if index is None:
        return JsonCursor(value, document, "data")
    return JsonCursor(value, JsonCursor(None, document, "data"), index)


class Elements:
    """Reads one document."""

    def __init__(
        self,
        most: int,
        *,
        locates_errors: bool = False,
        skim: Skim = lambda _data, _start: (0, 0),
        is_known: Callable[[object], bool] = lambda _value: False,
    ) -> None:
        """Read at most ``most`` elements, and nothing after them.

        ``locates_errors`` adds line and column to errors, which takes time to count.
        ``skim`` is called before each batch; an element that ``is_known`` may begin one.
        """
        self.count = 0
        self.truncated = False
        self._most = most
        self._locates_errors = locates_errors
        self._skim = skim
        self._is_known = is_known
        self._data = b""
        self._position = 0
        self._ended = False
        # Where `_data` begins in the document.
        self._line, self._column = 1, 1

    @property
    def partial(self) -> str:
        """Why the document was not read to its end; empty if it was."""
        return f"only the first {self._most} sessions are read" if self.truncated else ""

    def feed(self, part: bytes) -> None:
        """Add the next part of the document; an empty part ends it."""
        if self._locates_errors:
            self._line, self._column = self._place()
        self._data = self._data[self._position :] + part
        self._position = 0
        self._ended = not part

    def read(self) -> _Steps:
        """Read the document, step by step.

        Raises `JsonError` if it is not JSON, `UnreadableError` if it has another structure.
        """
        yield from self._need(3)
        if self._data.startswith(b"\xef\xbb\xbf"):
            self._position = 3
        yield from self._space()
        has_data = False
        if is_object := self._next() == b"{":
            has_data = yield from self._members()
        else:
            kind = self._kind()
            yield from self._pass_over()
        if not self.truncated:
            yield from self._space()
            if self._next():
                raise self._wrong("Extra data")
        if not is_object:
            raise UnreadableError(f"the document: expected an object, found {kind}")
        if not has_data:
            raise UnreadableError("/data: missing")

    def _members(self) -> Generator[ReadStep, None, bool]:
        """Read an object; return whether it has ``data``."""
        self._position += 1
        yield from self._space()
        has_data = False
        if self._next() == b"}":
            self._position += 1
            return has_data
        while True:
            if self._next() != b'"':
                raise self._wrong("Expecting property name enclosed in double quotes")
            name = yield from self._value()
            yield from self._expect(b":")
            yield from self._space()
            if name == "data" and not has_data:
                has_data = True
                yield from self._elements()
                if self.truncated:
                    return has_data
            else:
                yield from self._pass_over()
            if (yield from self._expect(b",", b"}")) == b"}":
                return has_data
            yield from self._space()

    def _elements(self) -> _Steps:
        kind = self._kind()
        if self._next() == b"{":
            yield from self._large(None)
            return
        if self._next() != b"[":
            raise UnreadableError(f"/data: expected an array or an object, found {kind}")
        self._position += 1
        yield from self._space()
        if self._next() == b"]":
            self._position += 1
            return
        while not self.truncated:
            yield from self._need(WINDOW)
            length, count = self._skim(self._data, self._position)
            if length:
                self._position += length
                self.count += count
                yield _PAUSE
            elif batch := self._window():
                yield batch
            else:
                yield from self._large(self.count)
            if (yield from self._expect(b",", b"]")) == b"]":
                return
            yield from self._space()
            self.truncated = self.count >= self._most

    def _window(self) -> ElementBatch | None:
        """Read the elements that end within a window; None if the first one does not."""
        window = self._data[self._position : self._position + WINDOW]
        text = window.decode(errors="surrogateescape")
        is_ascii = len(text) == len(window)
        is_whole = self._ended and len(window) == len(self._data) - self._position
        values: list[object] = []
        end = start = 0
        while len(values) < min(BATCH, self._most - self.count):
            try:
                value, stop = _decode(text, start)
            except (ValueError, RecursionError):
                break  # longer than the window, or malformed
            if stop == len(text) and not is_whole:
                break  # a number that may continue
            if not is_ascii and _is_escaped(text[start:stop]):
                break
            if values and self._is_known(value):
                break
            values.append(value)
            end = stop
            between = _BETWEEN.match(text, end)
            if between is None:
                break
            start = between.end()
        if not values:
            return None
        length = end if is_ascii else len(text[:end].encode(errors="surrogateescape"))
        self._position += length
        self.count += len(values)
        return ElementBatch(self.count - len(values), values, window[:length])

    def _large(self, index: int | None) -> _Steps:
        """Read one element that is longer or malformed, up to the limits."""
        line, column = self._place()
        excerpt = Excerpt(MAX_ELEMENT, MAX_WEIGHT)
        while not excerpt.ended:
            yield from self._need(_FOLLOWED)
            stop = min(self._position + _FOLLOWED, len(self._data))
            self._position = excerpt.follow(self._data, self._position, stop)
            if self._ended and stop == len(self._data) and not excerpt.ended:
                self._position = stop
                break
            yield _PAUSE
        self.count += 1
        yield ElementBatch(index, [excerpt.value(line, column)])

    def _value(self) -> Generator[ReadStep, None, object]:
        """Read a value that must be small."""
        line, column = self._place()
        kept = yield from self._follow(WINDOW)
        if kept is None:
            raise self._wrong("Too long")
        return loads(kept, line, column)

    def _pass_over(self) -> _Steps:
        """Skip a value; a small one must be JSON."""
        line, column = self._place()
        kept = yield from self._follow(WINDOW)
        if kept is not None:
            loads(kept, line, column)

    def _follow(self, most: int) -> Generator[ReadStep, None, bytes | None]:
        """Return the text of the value that begins here; None if it is too large."""
        extent, kept = Extent(), bytearray()
        is_kept = True
        while not extent.ended:
            yield from self._need(_FOLLOWED)
            start = self._position
            stop = min(start + _FOLLOWED, len(self._data))
            self._position = extent.follow(self._data, start, stop)
            if is_kept:
                kept += self._data[start : self._position]
                is_kept = len(kept) <= most
                if not is_kept:
                    kept.clear()
            if self._ended and stop == len(self._data) and not extent.ended:
                kept += self._data[self._position : stop]
                self._position = stop
                break
            yield _PAUSE
        return bytes(kept) if is_kept else None

    def _need(self, length: int) -> _Steps:
        """Wait for ``length`` bytes, or the end of the document."""
        while not self._ended and len(self._data) - self._position < length:
            yield _MORE

    def _space(self) -> _Steps:
        """Skip space, up to the next byte that is not space, or the end."""
        while True:
            found = _SPACE.match(self._data, self._position)
            self._position = found.end() if found else self._position
            if self._ended or self._position < len(self._data):
                return
            yield _MORE

    def _next(self) -> bytes:
        return self._data[self._position : self._position + 1]

    def _expect(self, *marks: bytes) -> Generator[ReadStep, None, bytes]:
        """Skip space and one of these marks; return the mark."""
        yield from self._space()
        mark = self._next()
        if mark not in marks:
            raise self._wrong(f"Expecting '{marks[0].decode()}' delimiter")
        self._position += 1
        return mark

    def _kind(self) -> str:
        """Return the kind of value that begins here."""
        kind = _KINDS.get(self._next())
        if kind is None:
            raise self._wrong("Expecting value")
        return kind

    def _place(self) -> tuple[int, int]:
        """Return line and column, the latter in bytes, both from 1."""
        if self._locates_errors and (lines := self._data.count(b"\n", 0, self._position)):
            return self._line + lines, self._position - self._data.rfind(b"\n", 0, self._position)
        return self._line, self._column + self._position

    def _wrong(self, reason: str) -> JsonError:
        line, column = self._place()
        return JsonError(f"line {line}, column {column}: {reason}")


def _is_escaped(text: str) -> bool:
    """Return whether any bytes of a text were not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
