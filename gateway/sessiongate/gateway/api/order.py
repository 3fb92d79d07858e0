"""Sorts rows in an order other than that of their ids, part by part."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from itertools import chain, islice
from typing import Any, TypeAlias

from sessiongate.gateway.api.request import RenderContext
from sessiongate.gateway.http.work import LIGHT_ROWS
from sessiongate.gateway.jsonapi.paths import MISSING, Path
from sessiongate.gateway.jsonapi.sorting import Sort, SortKey
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.representation.session import IDLE
from sessiongate.runtime.memory import collect_young
from sessiongate.runtime.turns import Steps, let_go
from sessiongate.v1.states import words_of

# The parts of a row's sort key in sequence, which differ before their lengths do, and the
# row's number, so that equal rows keep their order. A single tuple for each row is freed
# quickly, and the garbage collector skips a tuple that holds only strings and numbers.
_Numbered: TypeAlias = tuple[Any, ...]
# Rows sorted at a time: about a millisecond of work.
_RUN = 250
# Runs, or lists of `LIGHT_ROWS`, between two searches of young objects.
_AGED = 20
_BY_ID = (None, "/id")


def reorders(sort: Sort) -> bool:
    """Return whether an order differs from that of the ids."""
    first = sort.fields[0]
    return first.descending or first.path.pointer not in _BY_ID


def sort_key(sort: Sort, context: RenderContext) -> Callable[[SessionRow], SortKey]:
    """Return a function from rows to sort keys."""
    return sort.key_by(lambda path: _getter(path, context))


class Ordered:
    """Collects rows in any order and keeps the first ``most`` of them by a key, or all.

    Its containers count as old before they are large: a young one is searched for garbage with
    all that it contains, which takes tens of milliseconds. None is copied for the same reason.
    """

    def __init__(self, key: Callable[[SessionRow], SortKey], most: int | None) -> None:
        self._key = key
        self._most = most
        self._count = 0
        self._rows: dict[int, SessionRow] = {}  # by number
        self._runs: list[list[_Numbered]] = []  # of the same rows, each sorted

    def add(self, rows: Iterable[SessionRow]) -> Steps[None]:
        """Add more rows."""
        run: list[_Numbered] = []
        for row in rows:
            yield
            run.append((*chain.from_iterable(self._key(row)), self._count))
            self._rows[self._count] = row
            self._count += 1
            if len(run) == _RUN:
                yield from self._take(run)
                run = []
        yield from self._take(run)

    def rows(self, skip: int = 0) -> Steps[list[SessionRow]]:
        """Return the kept rows in order, without the first ``skip``."""
        found: list[SessionRow] = []
        for number, part in enumerate(self._first()):
            found += [self._rows[one[-1]] for one in part[max(0, skip) :]]
            skip -= len(part)
            if number % _AGED == _AGED - 1:
                collect_young()
            yield
        return found

    def let_go(self) -> Steps[None]:
        """Forget all rows, resting between steps."""
        yield from let_go(*self._runs, self._rows)

    def _take(self, run: list[_Numbered]) -> Steps[None]:
        run.sort()
        self._runs.append(run)
        if len(self._runs) % _AGED == 0:
            collect_young()
        if self._most is not None and len(self._rows) > 4 * max(self._most, _RUN):
            yield from self._cut()

    def _cut(self) -> Steps[None]:
        """Forget the rows that are not among the first ``most``."""
        last: _Numbered = ()
        for part in self._first():
            last = part[-1]
            yield
        for run in self._runs:
            kept = bisect_right(run, last)
            for one in run[kept:]:
                del self._rows[one[-1]]
            del run[kept:]
            yield
        self._runs = [run for run in self._runs if run]

    def _first(self) -> Iterator[list[_Numbered]]:
        """Yield the first ``most`` in order, some at a time."""
        numbered = islice(merge(*self._runs), self._most)
        while part := [*islice(numbered, LIGHT_ROWS)]:
            yield part


def _getter(path: Path, context: RenderContext) -> Callable[[SessionRow], object]:
    """Return a function that finds the value a row is sorted by."""
    known = _VALUES.get(path.pointer or "")
    if known is not None:
        return known
    get = path.getter()
    return lambda row: get(row.resource(context.base, context.now))


def _connected(row: SessionRow) -> object:
    return row.connected


def _idle(row: SessionRow) -> object:
    return MISSING if row.idle_since is None else -row.idle_since


def _field(name: str) -> Callable[[SessionRow], object]:
    def get(row: SessionRow) -> object:
        session: Any = row.session
        return getattr(session, name) if session.HasField(name) else MISSING

    return get


# The values to compare for the fields most often sorted by: times as times.
_VALUES: Mapping[str, Callable[[SessionRow], object]] = {
    "/id": lambda row: row.id,
    "/attributes/connected": _connected,
    IDLE: _idle,
    "/attributes/state": lambda row: words_of(row.state),
    **{
        f"/attributes/{name}": _field(name)
        for name in ("user", "remote", "port", "database", "application", "io_activity", "thread")
    },
}
