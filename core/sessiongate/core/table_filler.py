"""The interface of what keeps a core's table up to date: a collector, or a front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from sessiongate.core.collect.runner import ObservationCounts
from sessiongate.core.ledger.coverage import Interval
from sessiongate.v1.source_service_pb2 import Source


class TableFiller(Protocol):
    """Keeps a table up to date, from `start` to `close`."""

    async def start(self) -> None:
        """Begin. Raises `LedgerError`."""

    def observed(self, now: int) -> Iterable[Interval]:
        """Return when sources were observed, as far as the ledger may not have it.

        Those that are read without a break count as observed until ``now``, in ns since the
        epoch.
        """

    def reports(self) -> list[Source]:
        """Return the state of each source, as far as it is known without asking anybody."""

    async def current_reports(self) -> list[Source]:
        """Return the state of each source now."""

    def observation_counts(self) -> Mapping[str, ObservationCounts]:
        """Return the counts of observations of each source that is read here, by name."""

    async def close(self) -> None:
        """Stop, and release everything."""
