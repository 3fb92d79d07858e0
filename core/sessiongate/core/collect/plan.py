"""The sessions that an observation opens, changes and ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from sessiongate.core.collect.step import Entry
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.place import place_of
from sessiongate.core.sources.base import Observed

# Sessions that are written and shown together. To prepare more at once would take as much memory
# again as they take in the table, which the heap then does not return.
_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """The changes to sessions of one source, to write and to show."""

    fresh: Mapping[str, Observed]  # to show, by key
    former: Mapping[str, str]  # their keys so far, if those were others
    ended: Sequence[str]  # keys
    closed: Sequence[Closing]
    is_anew: bool  # all of them are new, also those with a known key
    is_divisible: bool  # sessions only come, and none requests an id

    def left(self) -> Iterator[str]:
        """Iterate over the keys that no session has anymore."""
        return chain(self.ended, self.former.values())

    def parts(self) -> Iterator[SourcePlan]:
        """Yield plans that do the same one after the other."""
        if not self.is_divisible or len(self.fresh) <= _AT_ONCE:
            yield self
            return
        items = iter(self.fresh.items())
        while part := dict(islice(items, _AT_ONCE)):
            yield replace(self, fresh=part)

    def opens(self, key: str, held: Mapping[str, int]) -> bool:
        """Return whether a session is new, given the places of those that were open before."""
        return self.is_anew or (key not in held and key not in self.former)

    def entries(
        self, openings: Sequence[Opening], ids: Sequence[int], held: Mapping[str, int]
    ) -> Iterator[Entry]:
        """Yield what becomes of each session, so that as many end as begin at any time.

        ``openings`` are those of the new ones, in the order of ``fresh``, and ``ids`` theirs.
        """
        done = 0
        ends = (Entry(key, None, held[key], key) for key in self.ended)
        opened = zip(openings, ids, strict=True)
        opening, ident = next(opened, (None, 0))
        for number, (key, item) in enumerate(self.fresh.items(), 1):
            former = self.former.get(key, key)
            if opening is not None and opening.key == key:
                yield Entry(key, item, place_of(opening.connect_time, ident), key)
                opening, ident = next(opened, (None, 0))
            else:
                yield Entry(key, item, held[former], former)
            while done * len(self.fresh) < number * len(self.ended):
                yield next(ends)
                done += 1
        yield from ends
