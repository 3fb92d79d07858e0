"""Rows by id, in order, and by what a filter names, kept by each change.

A change concerns one `Group`, however many fields a filter may name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import chain
from operator import attrgetter
from typing import Any, cast

from sessiongate.core.place import ID_MASK, id_of, place_of
from sessiongate.core.table.addresses import Networks
from sessiongate.core.table.filter import RowFilter
from sessiongate.core.table.row import Group, Row, Values
from sessiongate.runtime.index import Index
from sessiongate.runtime.memory import untrack, untracked
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.runtime.split_dict import LAST, SplitDict
from sessiongate.runtime.turns import Steps

_LAST = 2**63 - 1  # the time of a session without one
_LOOKED_UP = 200  # groups, networks and addresses between two rests: half a millisecond of work

# The orders that are kept by each change.
_KEPT = ("id", "connect_time")
PLACES: Mapping[str, Callable[[Row], int]] = {
    "id": attrgetter("id"),
    "connect_time": attrgetter("place"),
    "last_active_time": lambda row: place_of(_LAST if row.active is None else row.active, row.id),
    "activity.since_time": lambda row: place_of(_LAST if row.since is None else row.since, row.id),
}
_PLACE, _GROUP, _REMOTE = attrgetter("place"), attrgetter("group"), attrgetter("remote")


class Indexes:
    """The rows, the places of all in each order, and the ids of those that a filter may match."""

    def __init__(self) -> None:
        self.orders: Mapping[str, SortedSequence[int]] = {
            order: SortedSequence() for order in _KEPT
        }
        self._rows: SplitDict[int, Row] = SplitDict()
        self._known: dict[Values, Group] = {}
        # The groups with a value, by its place in `Values`.
        self._fields: Sequence[dict[Hashable, set[Group]]] = [{} for _ in Values._fields]
        self.by_group = Index()
        self.by_remote = Index()
        # All in `by_remote`: those that are addresses, and the others.
        self._addresses: SortedSequence[int] = SortedSequence()
        self._texts: dict[Hashable, None] = {}

    def __len__(self) -> int:
        return len(self.orders["id"])

    def row(self, ident: int) -> Row | None:
        """Return the row of a session, if there is one."""
        return self._rows.dicts[hash(ident) & LAST].get(ident)

    def rows(self, places: Iterable[int]) -> list[Row]:
        """Return the rows with these ids, or places in another order; those that there are."""
        # Calls of `row` and `id_of` for each would take three times as long.
        dicts = self._rows.dicts
        return [
            row
            for place in places
            if (row := dicts[hash(ident := place & ID_MASK) & LAST].get(ident)) is not None
        ]

    def group(self, values: Values) -> Group:
        """Return the group of sessions with these values, for a row to be added."""
        known = self._known.get(values)
        if known is None:
            known = self._known[values] = Group(values)
        return known

    def change(self, removed: Mapping[int, Row], added: Mapping[int, Row]) -> None:
        """Remove rows, and then add others; both are by id."""
        for ident in removed.keys() - added.keys():
            del self._rows[ident]
        self._rows.put_all(added.items())
        self._rows.untrack()
        gone, come = _differing(removed, added, _PLACE), _differing(added, removed, _PLACE)
        self.orders["id"].change([ident for _, ident in come], [ident for _, ident in gone])
        self.orders["connect_time"].change(
            [place for place, _ in come], [place for place, _ in gone]
        )
        new, old = self.by_group.change(
            _differing(removed, added, _GROUP), _differing(added, removed, _GROUP)
        )
        for group in cast(set[Group], new):
            for value, groups in zip(group.values, self._fields, strict=True):
                if (having := groups.get(value)) is None:
                    having = groups[value] = untracked(set())
                having.add(group)
        for group in cast(set[Group], old):
            self._forget(group)
        arrived, left = self.by_remote.change(
            _differing(removed, added, _REMOTE), _differing(added, removed, _REMOTE)
        )
        self._addresses.change(_numbers(arrived), _numbers(left))
        self._texts |= dict.fromkeys(one for one in arrived if not isinstance(one, int))
        for one in left:
            self._texts.pop(one, None)
        for each in (self._known, *self._fields):
            untrack(each)

    def _forget(self, group: Group) -> None:
        del self._known[group.values]
        for value, groups in zip(group.values, self._fields, strict=True):
            groups[value].remove(group)
            if not groups[value]:
                del groups[value]

    def remotes(self, most: int) -> Iterator[Sequence[Hashable]] | None:
        """Return all remotes of now, in parts; None if over ``most`` are no addresses."""
        if len(self._texts) > most:
            return None
        return chain(self._addresses.snapshot().parts(), [[*self._texts]])

    def candidates(self, wanted: RowFilter, most: int) -> Steps[list[int] | None]:
        """Return ids among which all are that match; None if there may be over ``most``.

        What changes meanwhile may be among them or not.
        """
        best: list[int] | None = None
        for look_up in (self._of_values, self._of_networks, self._of_times):
            found = yield from look_up(wanted, most)
            if found is not None:
                best, most = found, len(found)
        return best

    def _of_values(self, wanted: RowFilter, most: int) -> Steps[list[int] | None]:
        groups = self.groups(wanted, most) if wanted.values else None
        if groups is None:
            return None
        matching = (group for group in groups if wanted.match_values(group.values))
        return (yield from _gathered(map(self.by_group.ids, matching), most))

    def groups(self, wanted: RowFilter, most: int) -> list[Group] | None:
        """Return groups among which all are that match; None if there are over ``most``."""
        fields = (
            [known[value] for value in named if value in (known := self._fields[place])]
            for place, named in wanted.values.items()
        )
        few = min(fields, key=_total, default=[self._known.values()])
        return None if _total(few) > most else [*chain.from_iterable(few)]

    def _of_networks(self, wanted: RowFilter, most: int) -> Steps[list[int] | None]:
        if not wanted.networks:
            return None
        return (yield from _gathered(self._by_network(wanted.networks, most), most))

    def _by_network(self, networks: Networks, most: int) -> Iterator[Sequence[int]]:
        """Iterate over the ids of each address in networks, of over ``most`` only some."""
        known = self._addresses
        for first, last in networks:
            yield ()  # a network takes time even if no session is there
            low = known.rank(first)
            span = slice(low, min(known.rank(last + 1), low + most + 1))
            yield from map(self.by_remote.ids, known[span])

    def _of_times(self, wanted: RowFilter, most: int) -> Steps[list[int] | None]:
        if wanted.after is None and wanted.before is None:
            return None
        order = self.orders["connect_time"]
        low = 0 if wanted.after is None else order.rank(place_of(wanted.after, 0))
        high = len(order) if wanted.before is None else order.rank(place_of(wanted.before, 0))
        return [*map(id_of, order[low:high])] if high - low <= most else None
        yield


def _gathered(parts: Iterable[Sequence[int]], most: int) -> Steps[list[int] | None]:
    """Join ids; return None if there are over ``most``."""
    ids: list[int] = []
    for number, part in enumerate(parts, 1):
        if len(ids) + len(part) > most:
            return None
        ids += part
        if number % _LOOKED_UP == 0:
            yield
    return ids


def _differing(
    rows: Mapping[int, Row], others: Mapping[int, Row], value_of: Callable[[Row], Any]
) -> list[tuple[Any, int]]:
    """Return the values and ids of rows, except of those whose other row has the same value."""
    return [
        (value, ident)
        for ident, row in rows.items()
        if (value := value_of(row)) is not None
        and ((other := others.get(ident)) is None or value_of(other) != value)
    ]


def _numbers(remotes: Iterable[Hashable]) -> list[int]:
    """Return those that are addresses."""
    return [remote for remote in remotes if isinstance(remote, int)]


def _total(parts: Sequence[Sized]) -> int:
    return sum(map(len, parts))
