"""Cells in columns, as people at a terminal read them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Container, Iterable, Sequence
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size

BETWEEN = "  "


class Columns:
    """Aligns rows, which may come in several parts. A column never gets narrower.

    ``names`` are the head of the columns; without any, there is no head. The columns named in
    ``right`` are flush right. If ``room`` is given, no line is wider, in cells of a terminal:
    the widest columns wrap their text. If ``least`` is given, they cut it instead, as long as
    each has that many cells.
    """

    def __init__(
        self,
        *names: str,
        right: Container[str] = (),
        room: int | None = None,
        least: Sequence[int] | None = None,
    ) -> None:
        self._names = names
        self._head: Sequence[Sequence[str]] = [names] if names else []
        self._right = [name in right for name in names]
        self._room = room
        self._least = least
        self._widest: Sequence[int] = []  # cell of each column so far

    def lines(
        self, rows: Iterable[Sequence[str]], mark: Callable[[str], str] = str
    ) -> Sequence[str]:
        """Return the lines of the next rows; before the first ones, the head, with ``mark``."""
        head, rows, self._head = self._head, [*rows], []
        columns = zip(*head, *rows, strict=True)
        found = [widest(column) for column in columns]
        self._widest = [max(pair) for pair in zip_longest(self._widest, found, fillvalue=0)]
        return [*map(mark, self._lines(head)), *self._lines(rows)]

    def head(self) -> str:
        """Return the head at the present widths."""
        return self._lines([self._names])[0]

    def _lines(self, rows: Sequence[Sequence[str]]) -> Sequence[str]:
        widths = self._widest
        room = self._room and self._room - len(BETWEEN) * (len(widths) - 1)
        if room is not None and sum(widths) > room:
            widths = _narrowed(widths, room, self._least or [1] * len(widths))
            if self._least is None:
                rows = [part for row in rows for part in _wrapped(row, widths)]
            else:
                rows = [[*map(cut, row, widths)] for row in rows]
        right = self._right or [False] * len(widths)
        return [BETWEEN.join(map(_aligned, row, widths, right)).rstrip() for row in rows]


def widest(cells: Iterable[str]) -> int:
    """Return how many cells of a terminal the widest of some texts takes."""
    return max(map(_width, cells), default=0)


def _aligned(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def _narrowed(widths: Sequence[int], room: int, least: Sequence[int]) -> Sequence[int]:
    """Return widths that fit, if they can; the widest columns give way, down to ``least``."""

    def under(most: int) -> Sequence[int]:
        return [min(width, max(most, low)) for width, low in zip(widths, least, strict=True)]

    if sum(under(1)) > room:
        least = [1] * len(widths)
    low, high = 1, max(widths)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(under(middle)) <= room:
            low = middle
        else:
            high = middle - 1
    return under(low)


def _wrapped(row: Sequence[str], widths: Sequence[int]) -> Iterable[Sequence[str]]:
    return zip_longest(*map(_folded, row, widths), fillvalue="")


def _folded(cell: str, width: int) -> Sequence[str]:
    if _width(cell) <= width:
        return [cell]
    # In a script of wide characters, each takes two cells.
    return textwrap.wrap(cell, width if _width(cell) == len(cell) else max(1, width // 2))


def cut(cell: str, width: int) -> str:
    """Return a text of at most ``width`` cells of a terminal, with … if it is cut."""
    if _width(cell) <= width:
        return cell
    return set_cell_size(cell, width - 1).rstrip() + "…" if width > 1 else "…"
