"""Cells in columns, as people at a terminal read them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Container, Iterable, Sequence
from itertools import zip_longest

from rich.cells import cell_len

_BETWEEN = "  "


class Columns:
    """Aligns rows, which may come in several parts. A column never gets narrower.

    ``names`` are the head of the columns; without any, there is no head. The columns named in
    ``right`` are flush right. If ``room`` is given, no line is wider, in cells of a terminal:
    the widest columns wrap their text.
    """

    def __init__(self, *names: str, right: Container[str] = (), room: int | None = None) -> None:
        self._head: Sequence[Sequence[str]] = [names] if names else []
        self._right = [name in right for name in names]
        self._room = room
        self._widest: Sequence[int] = []  # cell of each column so far

    def lines(
        self, rows: Iterable[Sequence[str]], mark: Callable[[str], str] = str
    ) -> Sequence[str]:
        """Return the lines of the next rows; before the first ones, the head, with ``mark``."""
        head, rows, self._head = self._head, [*rows], []
        columns = zip(*head, *rows, strict=True)
        found = [max(map(_width, column)) for column in columns]
        self._widest = [max(pair) for pair in zip_longest(self._widest, found, fillvalue=0)]
        return [*map(mark, self._lines(head)), *self._lines(rows)]

    def _lines(self, rows: Sequence[Sequence[str]]) -> Sequence[str]:
        widths = self._widest
        room = self._room and self._room - len(_BETWEEN) * (len(widths) - 1)
        if room is not None and sum(widths) > room:
            widths = _narrowed(widths, room)
            rows = [part for row in rows for part in _wrapped(row, widths)]
        right = self._right or [False] * len(widths)
        return [_BETWEEN.join(map(_aligned, row, widths, right)).rstrip() for row in rows]


def _aligned(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def _narrowed(widths: Sequence[int], room: int) -> Sequence[int]:
    """Return widths that fit, if they can; the widest columns give way."""
    low, high = 1, max(widths)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(width, middle) for width in widths) <= room:
            low = middle
        else:
            high = middle - 1
    return [min(width, low) for width in widths]


def _wrapped(row: Sequence[str], widths: Sequence[int]) -> Iterable[Sequence[str]]:
    return zip_longest(*map(_folded, row, widths), fillvalue="")


def _folded(cell: str, width: int) -> Sequence[str]:
    if _width(cell) <= width:
        return [cell]
    # In a script of wide characters, each takes two cells.
    return textwrap.wrap(cell, width if _width(cell) == len(cell) else max(1, width // 2))
