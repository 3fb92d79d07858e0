"""Counts of the sessions on each service, kept by each change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple

from sessiongate.gateway.representation.row import SessionRow
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.v1.session_pb2 import SessionState

_LISTENER_STATES = (
    SessionState.SESSION_STATE_LISTENER,
    SessionState.SESSION_STATE_LISTENER_STOPPED,
)


class ServiceTally(NamedTuple):
    """What is counted of the sessions on one service."""

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

    def change(self, removed: Iterable[SessionRow], added: Iterable[SessionRow]) -> None:
        """Remove sessions, exactly as they were added, and then add others."""
        for row in removed:
            self._remove(row)
        for row in added:
            if name := row.service:  # a service needs a name
                self._add(name, row)

    def _add(self, name: str, row: SessionRow) -> None:
        service = self._services.get(name)
        if service is None:
            service = self._services[name] = _Service()
        service.sources[row.source] += 1
        if row.state in _LISTENER_STATES:
            service.listeners.change([(row.connected, row.id)])

    def _remove(self, row: SessionRow) -> None:
        service = self._services.get(row.service)
        if service is None:
            return
        service.sources[row.source] -= 1
        if not service.sources[row.source]:
            del service.sources[row.source]
        if row.state in _LISTENER_STATES:
            service.listeners.change((), [(row.connected, row.id)])
        if not service.sources:
            del self._services[row.service]
