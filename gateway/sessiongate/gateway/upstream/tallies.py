"""Counts of the sessions on each service, kept by each change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import NamedTuple

from sessiongate.gateway.representation.row import FIELDS, SessionRow
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.v1.session_pb2 import SessionState

_LISTENER_STATES = (
    SessionState.SESSION_STATE_LISTENER,
    SessionState.SESSION_STATE_LISTENER_STOPPED,
)
# Of a row's values: the names of its service and its source.
_PLACE = itemgetter(FIELDS.index("services"), -1)


class ServiceTally(NamedTuple):
    """Counts of the sessions on one service."""

    sources: tuple[str, ...]  # sorted
    connections: int  # sessions that are not listeners
    listeners: int
    started: int | None  # of the earliest listener, in seconds since the epoch


class _Service:
    __slots__ = ("listeners", "sources")

    def __init__(self) -> None:
        self.sources: Counter[str] = Counter()  # sessions of each
        self.listeners: SortedSequence[tuple[int, int]] = SortedSequence()  # by connect time; ids

    def tally(self) -> ServiceTally:
        listeners = len(self.listeners)
        started = self.listeners[0][0] // 10**9 if listeners else None
        connections = self.sources.total() - listeners
        return ServiceTally(tuple(sorted(self.sources)), connections, listeners, started)


class ServiceTallies:
    """The tallies of all services that have sessions."""

    def __init__(self) -> None:
        self._services: dict[str, _Service] = {}

    def of(self, names: Collection[str] | None = None) -> dict[str, ServiceTally]:
        """Return the tallies by service, of these services or of all, sorted."""
        found = self._services if names is None else self._services.keys() & names
        return {name: self._services[name].tally() for name in sorted(found)}

    def change(self, removed: Sequence[SessionRow], added: Sequence[SessionRow]) -> None:
        """Remove sessions, exactly as they were added, and then add others."""
        for name in self._remove(removed):
            if not self._services[name].sources:
                del self._services[name]
        self._add(added)

    def _remove(self, rows: Sequence[SessionRow]) -> set[str]:
        """Remove sessions; return the services that they were on."""
        counted = _counted(rows)
        for (name, source), count in counted.items():
            sources = self._services[name].sources
            sources[source] -= count
            if not sources[source]:
                del sources[source]
        for row in _listeners(rows):
            self._services[row.service].listeners.change((), [(row.connected, row.id)])
        return {name for name, _ in counted}

    def _add(self, rows: Sequence[SessionRow]) -> None:
        for (name, source), count in _counted(rows).items():
            if name not in self._services:
                self._services[name] = _Service()
            self._services[name].sources[source] += count
        for row in _listeners(rows):
            self._services[row.service].listeners.change([(row.connected, row.id)])


def _counted(rows: Sequence[SessionRow]) -> Counter[tuple[str, str]]:
    """Return how many of the rows are on each service, by source; a service needs a name."""
    counted = Counter(map(_PLACE, [row.values for row in rows]))
    return Counter({place: count for place, count in counted.items() if place[0]})


def _listeners(rows: Sequence[SessionRow]) -> list[SessionRow]:
    return [row for row in rows if row.state in _LISTENER_STATES and row.service]
