"""The rows of a source's last response, and what was made of each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

from sessiongate.core.sources.support.pacing import Pace
from sessiongate.runtime.memory import untrack

_PART = 100  # rows that are compared at once

_Row = TypeVar("_Row")
_Stated = TypeVar("_Stated")
_Made = TypeVar("_Made")
# The names of some rows, what is compared of them, and what was made of them.
_Piece: TypeAlias = tuple[list[Hashable], list[_Stated], list[_Made]]


class KnownRows(Generic[_Row, _Stated, _Made]):
    """Makes something of each row; for a row that is stated again, it is the same object again.

    Most rows are stated again, in the same order: to compare a hundred of them at once takes a
    fraction of the time of a hundred comparisons.
    """

    def __init__(
        self,
        name: Callable[[_Row], Hashable],
        stated: Callable[[list[_Row]], list[_Stated]],
        is_lasting: Callable[[_Made], bool] = lambda _made: True,
    ) -> None:
        """``name`` returns what tells a row from the others of its response.

        ``stated`` returns what is compared of each of some rows. What is not lasting may have to be
        made anew even if its row is stated again: see `read`.
        """
        self._name = name
        self._stated_of = stated
        self._is_lasting = is_lasting
        # Of each row, in the order of the last response.
        self._names: list[Hashable] = []
        self._stated: list[_Stated] = []
        self._made: list[_Made] = []
        self._places: dict[Hashable, int] = {}  # by name; of rows with the same one, the last
        self._passing: set[Hashable] = set()  # names of what is not lasting
        self._forgotten: set[Hashable] = set()  # and of what is made anew the next time

    def stated(self, name: Hashable) -> _Stated | None:
        """Return what was compared of the row with a name, if there was one."""
        place = self._places.get(name)
        return None if place is None else self._stated[place]

    def made(self, name: Hashable) -> _Made | None:
        """Return what was made of the row with a name, if there was one."""
        place = self._places.get(name)
        return None if place is None else self._made[place]

    def forget(self, names: Iterable[Hashable]) -> None:
        """Make anew what is made of the rows with these names."""
        self._forgotten.update(names)

    async def read(
        self,
        rows: Iterable[_Row],
        make: Callable[[_Row, _Made | None], _Made],
        pace: Pace,
        still: Callable[[_Row, _Made], bool] = lambda _row, _made: False,
    ) -> list[_Made]:
        """Return what is made of each row: the same list again if nothing else is.

        ``make`` is called with a row, and what was made of the one with its name before. What is
        not lasting is made anew unless it is ``still`` right for its row, which is stated again.
        """
        for _ in self._read(rows, make, still):
            await pace.pause()
        return self._made

    def read_apart(
        self, rows: Iterable[_Row], make: Callable[[_Row, _Made | None], _Made], pace: Pace
    ) -> list[_Made]:
        """Do what `read` does; for use in a thread."""
        for _ in self._read(rows, make, lambda _row, _made: False):
            pace.sleep()
        return self._made

    def _read(
        self,
        rows: Iterable[_Row],
        make: Callable[[_Row, _Made | None], _Made],
        still: Callable[[_Row, _Made], bool],
    ) -> Iterator[None]:
        """Read in short steps; only the last one replaces what is known."""
        following, last = iter(rows), len(self._made)
        pieces: list[slice | _Piece[_Stated, _Made]] = []  # a slice of what is known, or new ones
        count, is_same = 0, True
        while part := [*islice(following, _PART)]:
            stated = self._stated_of(part)
            start = self._places.get(self._name(part[0]), last)
            again = slice(start, start + len(part))
            if self._stated[again] == stated and self._holds(part, again, still):
                pieces.append(again)
                is_same = is_same and start == count
            else:
                pieces.append(self._piece(part, stated, make, still))
                is_same = False
            count += len(part)
            yield
        # What is known is not even touched if all is the same: memory is slow.
        if not is_same or count != last:
            yield from self._take(pieces)
        self._forgotten.clear()

    def _holds(self, part: list[_Row], again: slice, still: Callable[[_Row, _Made], bool]) -> bool:
        """Return whether nothing has to be made anew of rows that are stated again."""
        if self._forgotten and not self._forgotten.isdisjoint(self._names[again]):
            return False
        return (
            not self._passing
            or self._passing.isdisjoint(self._names[again])
            or all(map(still, part, self._made[again]))
        )

    def _piece(
        self,
        part: list[_Row],
        stated: list[_Stated],
        make: Callable[[_Row, _Made | None], _Made],
        still: Callable[[_Row, _Made], bool],
    ) -> _Piece[_Stated, _Made]:
        """Compare rows one by one, and make something of those that are stated otherwise."""
        names = [*map(self._name, part)]
        made: list[_Made] = []
        for name, row, each in zip(names, part, stated, strict=True):
            place = self._places.get(name)
            if place is None:
                made.append(make(row, None))
                continue
            before = self._made[place]
            is_again = self._stated[place] == each and name not in self._forgotten
            if is_again and (name not in self._passing or still(row, before)):
                made.append(before)
            else:
                made.append(make(row, before))
        return names, stated, made

    def _take(self, pieces: Iterable[slice | _Piece[_Stated, _Made]]) -> Iterator[None]:
        """Replace what is known, in steps."""
        names: list[Hashable] = []
        stated: list[_Stated] = []
        made: list[_Made] = []
        passing: set[Hashable] = set()
        places: dict[Hashable, int] = {}
        for piece in pieces:
            start = len(names)
            if isinstance(piece, slice):
                piece = self._names[piece], self._stated[piece], self._made[piece]
                passing |= self._passing.intersection(piece[0])
            else:
                passing.update(
                    name
                    for name, item in zip(piece[0], piece[2], strict=True)
                    if not self._is_lasting(item)
                )
            places.update(zip(piece[0], range(start, start + len(piece[0])), strict=True))
            names += piece[0]
            stated += piece[1]
            made += piece[2]
            yield
        for items in (names, stated, made):
            untrack(items)
        self._names, self._stated, self._places, self._passing = names, stated, places, passing
        if made != self._made:
            self._made = made
