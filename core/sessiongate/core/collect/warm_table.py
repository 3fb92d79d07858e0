"""The table that a core keeps warm while it stands by, so that it can show it at once.

It has the sessions that the sources stated when they were last read, under the ids that the active
core has given them. That decides nothing: when this core takes over, `ShownSource.restore` removes
what the ledger does not have open in just this way, and each source is observed as at any start.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from sessiongate.core.collect.blocking import waited_for
from sessiongate.core.collect.difference import difference
from sessiongate.core.collect.links import Links
from sessiongate.core.collect.scopes import Scopes
from sessiongate.core.collect.shown_source import ShownSource
from sessiongate.core.collect.step import Entry
from sessiongate.core.ledger.base import Revisions
from sessiongate.core.place import id_of
from sessiongate.core.sources.base import Observation, SourceConfig
from sessiongate.core.sources.support.pacing import Pace, kept, mapped
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.memory import FreeMemory

_FEW = 0.1  # of the sessions, which may come and go between two readings
_MANY = 10_000  # sessions that changed: what that took of memory is worth returning


class FutureStart(Revisions, Protocol):
    """The start for which a table is kept warm, and what the ledger has until then."""

    @property
    def revision(self) -> int:
        """The number above which its revisions are."""

    async def places(self, source: str, keys: Sequence[str]) -> Mapping[str, int]:
        """Return the places (`core.place`) of a source's open sessions with these keys, by key.

        Raises `LedgerError`.
        """


class WarmTable:
    """The table, and what its sources show in it; one call at a time changes it."""

    def __init__(
        self,
        table: SessionTable,
        start: FutureStart,
        sources: Sequence[SourceConfig],
        max_session: int,
        scopes: Scopes | None,
    ) -> None:
        """Fill ``table``, which is empty, for a ``start``."""
        self.table = table
        self.start = start
        self.links = Links()
        self.shown_sources = {
            config.name: ShownSource(
                *(config.name, table, start, self.links, max_session, time.time_ns),
                None if scopes is None else scopes.of(config),
            )
            for config in sources
        }
        # How many sessions of each source were not open in the ledger when it was last read.
        self._unknown: dict[str, int] = {}
        self._memory = FreeMemory()

    @property
    def is_early(self) -> bool:
        """Whether much was not open: the ledger is away, or the active core has only begun."""
        return sum(self._unknown.values()) > _FEW * len(self.table)

    async def take(self, config: SourceConfig, observation: Observation, requested: float) -> None:
        """Show what a source states, as far as it is open in the ledger.

        It was ``requested`` then, on the clock `elapsed`.
        Raises `LedgerError`, or is cancelled; then some of it is shown.
        """
        self._unknown[config.name] = len(observation.sessions)
        shown_source, pace = self.shown_sources[config.name], Pace()
        shown_source.drop_pending()
        found = await difference(
            *(observation.sessions, shown_source.stated, shown_source.shown, shown_source.held),
            *(config.max_sessions, pace),
        )
        places = await self.start.places(config.name, [*found.fresh])
        owners: dict[int, str] = {}  # keys: one that was renamed meanwhile may be found twice
        await mapped(lambda pair: owners.setdefault(pair[1], pair[0]), places.items(), pace)
        absent = await kept(lambda key: key not in found.fresh, [*shown_source.absent], pace)
        leaving, held = {*found.gone, *absent}, shown_source.held
        moved = await kept(
            lambda key: (
                (key in found.fresh and places.get(key) != held[key])
                or (owners.get(held[key], key) != key and key not in leaving)
            ),
            held,
            pace,
        )
        left = [*found.gone, *absent, *moved]
        # First, and not in one step: a session may have got the key or the id of another one.
        await shown_source.show((Entry(key, None, held[key], key) for key in left), {}, pace)
        blocking = await waited_for(found.fresh.values(), pace)
        listed = {key: place for key in blocking if (place := held.get(key)) is not None}
        listed |= {key: places[key] for key in blocking if key in places}

        def entries() -> Iterator[Entry]:
            for key, item in found.fresh.items():
                if key in places and owners[places[key]] == key:
                    yield Entry(key, item, places[key], key)

        await shown_source.show(
            entries(), {key: id_of(place) for key, place in listed.items()}, pace
        )
        shown_source.progressed_at = requested
        self._unknown[config.name] = len(found.fresh) - len(places)
        self.table.log.forget()  # nobody reads it yet
        if len(left) + len(found.fresh) >= _MANY:
            self._memory.give_back_soon()
