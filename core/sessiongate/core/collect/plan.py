"""The sessions that an observation opens, changes and ends, in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeAlias

from sessiongate.core.collect.difference import FreshSessions
from sessiongate.core.collect.step import Entry
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.place import id_of, place_of
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.runtime.memory import untrack
from sessiongate.runtime.turns import let_go_soon
from sessiongate.v1.history_service_pb2 import EndReason

# Changes that are written and shown together. To prepare more at once would take as much memory
# again as sessions take in the table, which the heap then does not return, and nobody would be
# told of the first ones before the last.
_AT_ONCE = 5_000

Change: TypeAlias = tuple[str, Observed | None]  # a key, and its session to show; None if it ends


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """The changes to sessions of one source, to write and to show."""

    fresh: FreshSessions  # to show, by key
    former: Mapping[str, str]  # their keys so far, if those were others
    ended: Sequence[str]  # keys
    new: int  # how many begin
    replaced: EndReason | None  # why all of them are new, also those with a known key, if so
    is_divisible: bool  # the parts may come one after the other

    def left(self) -> Iterator[str]:
        """Iterate over the keys that no session has anymore."""
        return chain(self.ended, self.former.values())

    def opens(self, key: str, held: Mapping[str, int]) -> bool:
        """Return whether a session is new, given the places of those that were open before."""
        return bool(self.replaced) or (key not in held and key not in self.former)

    def parts(self, held: Mapping[str, int]) -> Iterator[Iterator[Change]]:
        """Yield the changes in parts, at least one; read each to its end before the next."""
        changes, count = self._changes(held), max(1, len(self.fresh) + len(self.ended))
        at_once = _AT_ONCE if self.is_divisible else count
        for _ in range(0, count, at_once):
            yield islice(changes, at_once)

    def _changes(self, held: Mapping[str, int]) -> Iterator[Change]:
        """Yield the changes, so that as many sessions end as begin at any time."""
        begun = done = 0
        for key, item in self.fresh.pairs():
            begun += self.opens(key, held)  # before the part is shown that ends here
            yield key, item
            while done * self.new < begun * len(self.ended):
                yield self.ended[done], None
                done += 1
        yield from ((key, None) for key in islice(self.ended, done, None))


class PlanPart:
    """Changes that are written together, prepared as far as possible beforehand."""

    def __init__(self, plan: SourcePlan) -> None:
        self._former = plan.former
        self.changes: list[Change] = []
        # What the ledger is told. Those that it opens are in the order of the changes.
        self.opened: list[Opening] = []
        self.closed: list[Closing] = []
        self.rekeyed: dict[str, int] = {}
        for each in (self.changes, self.opened, self.closed):
            untrack(each)

    @classmethod
    async def of(
        cls,
        plan: SourcePlan,
        changes: Iterator[Change],
        held: Mapping[str, int],
        opening: Callable[[str, Observed], Opening],
        closing: Callable[[str], Closing],
    ) -> PlanPart:
        """Prepare some changes of a plan; ``opening`` and ``closing`` describe a session."""
        part, pace = cls(plan), Pace()
        for change in changes:
            key, item = change
            untrack(change)
            part.changes.append(change)
            if item is None or (plan.replaced and key in held):
                part.closed.append(closing(key))
            if former := plan.former.get(key):
                part.rekeyed[key] = id_of(held[former])
            elif item is not None and plan.opens(key, held):
                part.opened.append(opening(key, item))
            if pace.is_due:
                await pace.rest()
        return part

    def let_go_soon(self) -> None:
        """Forget the changes, which nobody needs anymore: many of them in steps."""
        let_go_soon(self.changes, self.opened, self.closed)

    def fresh(self) -> Iterator[tuple[str, Observed]]:
        """Iterate over the sessions to show, by key."""
        return ((key, item) for key, item in self.changes if item is not None)

    def entries(self, ids: Sequence[int], held: Mapping[str, int]) -> Iterator[Entry]:
        """Yield what becomes of each session; ``ids`` are those of the ``opened`` ones."""
        opened = zip(self.opened, ids, strict=True)
        opening, ident = next(opened, (None, 0))
        for key, item in self.changes:
            if opening is not None and opening.key == key:
                yield Entry(key, item, place_of(opening.connect_time, ident), key)
                opening, ident = next(opened, (None, 0))
            else:
                former = self._former.get(key, key)
                yield Entry(key, item, held[former], former)
