"""The rows of a source's last response, and what was made of each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import count, islice
from typing import Generic, TypeVar

from sessiongate.core.sources.support.pacing import Pace
from sessiongate.runtime.memory import untrack

_PART = 100  # rows that are compared at once

_Row = TypeVar("_Row")
_Stated = TypeVar("_Stated")
_Made = TypeVar("_Made")


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
        following, place_of, last = iter(rows), self._places.get, len(self._made)
        passing, forgotten = self._passing, self._forgotten
        names: list[Hashable] = []
        stated: list[_Stated] = []
        made: list[_Made] = []
        now_passing: set[Hashable] = set()
        while part := [*islice(following, _PART)]:
            compared = self._stated_of(part)
            start = place_of(self._name(part[0]), last)
            again = slice(start, start + len(part))
            if (
                self._stated[again] == compared
                and forgotten.isdisjoint(self._names[again])
                and (
                    passing.isdisjoint(self._names[again])
                    or all(map(still, part, self._made[again]))
                )
            ):
                names += self._names[again]
                stated += self._stated[again]
                made += self._made[again]
                now_passing.update(passing.intersection(self._names[again]))
            else:
                for row, each in zip(part, compared, strict=True):
                    name = self._name(row)
                    place = place_of(name, last)
                    if place == last:
                        item = make(row, None)
                    elif (
                        self._stated[place] != each
                        or name in forgotten
                        or (name in passing and not still(row, self._made[place]))
                    ):
                        item = make(row, self._made[place])
                    else:
                        item = self._made[place]
                    if not self._is_lasting(item):
                        now_passing.add(name)
                    names.append(name)
                    stated.append(each)
                    made.append(item)
            yield
        if made == self._made:
            made = self._made
        places = self._places
        if names != self._names:
            places, numbers = {}, count()
            for start in range(0, len(names), _PART):
                places.update(zip(names[start : start + _PART], numbers, strict=False))
                yield
        for items in (names, stated, made):
            untrack(items)
        self._names, self._stated, self._made = names, stated, made
        self._places, self._passing = places, now_passing
        forgotten.clear()
