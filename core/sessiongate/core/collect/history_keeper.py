"""Keeps the history in a ledger: notes when sources were observed, and drops what is too old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress

from sessiongate.core.collect.observed_times import ObservedTimes
from sessiongate.core.ledger.base import Ledger
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Closing
from sessiongate.core.place import id_of, time_of
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.history_service_pb2 import EndReason

log = logging.getLogger(__name__)

NOTE_EVERY = 5.0  # seconds between two writes of when sources were observed


class HistoryKeeper:
    """Writes to a ledger when the sources of a core were observed."""

    def __init__(self, ledger: Ledger, times: Sequence[ObservedTimes]) -> None:
        self._ledger = ledger
        self._times = times

    async def keep(self) -> None:
        """Write every few seconds when sources were observed, and drop what is not kept."""
        while True:
            await asyncio.sleep(NOTE_EVERY)
            with suppress(LedgerError):  # a source that writes reports it
                await self._note_and_trim()

    async def _note_and_trim(self) -> None:
        await self.note()
        has_more = True
        while has_more:
            began = elapsed()
            has_more = await self._ledger.trim()
            await asyncio.sleep(elapsed() - began)  # leave the disk to others as long

    async def note(self) -> None:
        """Write when sources were observed. Raises `LedgerError`."""
        parts = [(times, times.intervals) for times in self._times]
        await self._ledger.note([each for _, part in parts for each in part])
        for times, part in parts:
            times.written(part)


async def end_others(
    ledger: Ledger, held: Mapping[str, Mapping[str, int]], configured: Set[str]
) -> None:
    """End the open sessions of sources that are not configured any longer.

    They were last seen when their source was last observed. Raises `LedgerError`.
    """
    for source in held.keys() - configured:
        seen = await ledger.covered_until(source)
        closed = [
            Closing(
                *(id_of(place), time_of(place)),
                reason=EndReason.END_REASON_NOT_SEEN,
                last_seen=time_of(place) if seen is None else seen,
            )
            for place in held[source].values()
        ]
        if closed:
            await ledger.record(source, opened=(), closed=closed, incarnation=None)
            await ledger.own(configured)  # another core may have it from now on
            log.warning(
                "source %s is not configured any longer: ended its %d sessions",
                *(source, len(closed)),
            )
