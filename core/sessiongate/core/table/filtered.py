"""FilteredLists: the sessions that match a filter, in order; looked up, and then kept current.

A list is of one revision. When it is asked for again, the changes since are applied to a
copy, which shares what has not changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from sessiongate.core.place import id_of, place_of
from sessiongate.core.table.changelog import ChangeLog
from sessiongate.core.table.filter import MATCH_ALL, RowFilter
from sessiongate.core.table.indexes import PLACES, Indexes
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.runtime.turns import Steps, finished, later

# Lists to keep; together they have at most four times as many sessions as the table.
_KEPT, _KEPT_TABLES = 16, 4
# Rows to try, and changes to apply, in about a millisecond.
_SHORT, _FEW_CHANGES = 1000, 250
_LOOKED_AT = 500  # sessions between two rests
_AT_ONCE = 10 * _LOOKED_AT  # places that a scan adds to its list at once
_LARGE = 10_000  # places that take a third of a millisecond to free
_LET_GO = 50  # blocks of a list that are freed at once, in about a millisecond
# A scan of the whole order costs as much as finding and sorting one session in this many.
_SCANNED = 25


class _List(NamedTuple):
    revision: int
    places: SortedSequence[int]


class FilteredLists:
    """The places of matching sessions by filter and order."""

    def __init__(self, rows: Indexes, log: ChangeLog) -> None:
        self._rows = rows
        self._log = log
        self._lists: OrderedDict[tuple[bytes, str], _List] = OrderedDict()

    def is_short(self, wanted: RowFilter, order: str) -> bool:
        """Return whether `matching` takes about a millisecond at most."""
        known = self._lists.get((wanted.digest, order))
        if wanted.depends_on_clock:
            return False
        if known is not None and self._log.revision - known.revision <= _FEW_CHANGES:
            return self._is_held(known)
        return finished(self._rows.candidates(wanted, _SHORT)) is not None

    def matching(self, wanted: RowFilter, order: str) -> Steps[SortedSequence[int]]:
        """Return the places of the sessions that match, as the table is when this ends.

        If the filter depends on the clock, it is for a time, and its list is not kept: give it
        to `leave`.
        """
        key = wanted.digest, order
        known = self._lists.get(key)
        if known is None or self._log.revision - known.revision > max(_SHORT, len(known.places)):
            known = yield from self._looked_up(wanted, order)
        while known.revision != self._log.revision:
            if self._is_held(known):
                known = yield from self._brought_up(known, wanted, order)
            else:
                known = yield from self._looked_up(wanted, order)
        if not wanted.depends_on_clock:
            self._keep(key, known)
        return known.places

    def _is_held(self, known: _List) -> bool:
        """Return whether the log has all changes since a list was made."""
        return known.revision >= self._log.oldest

    def _keep(self, key: tuple[bytes, str], new: _List) -> None:
        self._lists[key] = new
        self._lists.move_to_end(key)
        most = _KEPT_TABLES * len(self._rows)
        while len(self._lists) > 1 and (
            len(self._lists) > _KEPT
            or sum(len(each.places) for each in self._lists.values()) > most
        ):
            leave(self._lists.popitem(last=False)[1].places)

    def _looked_up(self, wanted: RowFilter, order: str) -> Steps[_List]:
        """Make the list by the smallest index, or by all sessions if that has too many.

        What changes meanwhile is in the list or not: `_brought_up` corrects it.
        """
        revision, place = self._log.revision, PLACES[order]
        most = max(_SHORT, len(self._rows) // _SCANNED)
        candidates = yield from self._candidates(wanted, most)
        is_sorted = candidates is None and order in self._rows.orders
        places: SortedSequence[int] = SortedSequence()
        found: list[int] = []
        if candidates is None:
            parts = self._rows.orders[order if is_sorted else "id"].snapshot().parts()
        else:
            parts = (candidates[i : i + _LOOKED_AT] for i in range(0, len(candidates), _LOOKED_AT))
        try:
            for number, part in enumerate(parts):
                if number:
                    yield
                found += [place(row) for row in self._rows.rows(part) if wanted.matches(row)]
                if candidates is None and len(found) >= (_AT_ONCE if is_sorted else _LOOKED_AT):
                    places.change(found)
                    found.clear()
        except GeneratorExit:  # the call is cancelled
            leave(places)
            raise
        if candidates is not None:
            found.sort()
        places.change(found)
        return _List(revision, places)

    def _candidates(self, wanted: RowFilter, most: int) -> Steps[list[int] | None]:
        """Return what `Indexes.candidates` does, or less by an order by time.

        An order is not made, or brought up to date, for a few rows.
        """
        best = yield from self._rows.candidates(wanted, most)
        for order, latest in (
            ("last_active_time", wanted.idle_since),
            ("activity.since_time", wanted.active_since),
        ):
            if latest is not None and (best is None or len(best) > _SHORT):
                times = yield from self.matching(MATCH_ALL, order)
                count = times.rank(place_of(latest + 1, 0))
                if count <= (most if best is None else len(best)):
                    best = [*map(id_of, times[:count])]
        return best

    def _brought_up(self, known: _List, wanted: RowFilter, order: str) -> Steps[_List]:
        """Apply the changes since a list was made."""
        place, places, revision = PLACES[order], known.places.snapshot(), self._log.revision
        for number, step in enumerate(self._log.between(known.revision, revision)):
            if number:
                yield
            latest = {row.id: row for row in step.new if row is not None}.values()
            places.change(
                [place(row) for row in latest if wanted.matches(row)],
                [place(row) for row in step.old if row is not None and wanted.matches(row)],
            )
        return _List(revision, places)


def leave(places: SortedSequence[int]) -> None:
    """Free a list that nobody needs any longer, in steps, once the caller has forgotten it.

    In an order by time, 1,000,000 places take 35 ms.
    """
    if len(places) > _LARGE:
        later(_freed([*places.parts()]))


def _freed(blocks: list[Sequence[int]]) -> Steps[None]:
    while blocks:
        yield
        del blocks[-_LET_GO:]
