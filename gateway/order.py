"""Rows in another order than that of their ids, a part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import merge
from itertools import chain, islice
from typing import Any, TypeAlias

from gateway.jsonapi.sorting import SortKey
from gateway.rendering import Rendered
from gateway.work import HEAVY_ROWS, LIGHT_ROWS
from runtime.turns import Steps

# The parts of a row's sort key one behind the other, which differ before their lengths do, and
# the row's number, so that equals stay in their order. One tuple a row is soon let go of, and
# one of texts and numbers the garbage collector need not look at.
_Numbered: TypeAlias = tuple[Any, ...]
# Sorted at a time: a few milliseconds of work.
_RUN = 1000


class Ordered:
    """The first ``most`` rows by a key, or all, of those that come in any order."""

    def __init__(self, key: Callable[[Rendered], SortKey], most: int | None) -> None:
        self._key = key
        self._most = most
        self._count = 0
        self._rows: dict[int, Rendered] = {}  # by number; all that the runs name, at least
        self._runs: list[list[_Numbered]] = []  # each sorted

    def add(self, rows: Iterable[Rendered]) -> Steps[None]:
        """Take more rows."""
        run: list[_Numbered] = []
        for row in rows:
            if self._count % HEAVY_ROWS == 0:
                yield
            run.append((*chain.from_iterable(self._key(row)), self._count))
            self._rows[self._count] = row
            self._count += 1
            if len(run) == _RUN:
                yield from self._take(run)
                run = []
        yield from self._take(run)

    def rows(self) -> Steps[list[Rendered]]:
        """All that were taken, in order."""
        yield from self._merge()
        return [self._rows[number] for run in self._runs for *_, number in run]

    def _take(self, run: list[_Numbered]) -> Steps[None]:
        run.sort()
        self._runs.append(run[: self._most])
        if self._most is not None and len(self._rows) > 4 * max(self._most, _RUN):
            yield from self._merge()

    def _merge(self) -> Steps[None]:
        merged: list[_Numbered] = []
        kept: dict[int, Rendered] = {}
        numbered = islice(merge(*self._runs), self._most)
        while part := list(islice(numbered, LIGHT_ROWS)):
            merged += part
            kept |= {number: self._rows[number] for *_, number in part}
            yield
        self._runs, self._rows = [merged], kept
