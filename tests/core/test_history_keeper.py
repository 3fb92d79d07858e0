"""The task that keeps the history: whatever fails, it goes on."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from sessiongate.core.collect import history_keeper
from sessiongate.core.collect.history_keeper import HistoryKeeper
from sessiongate.core.collect.observed_times import ObservedTimes
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.runtime import background
from sessiongate.runtime.background import in_background

SECOND = 10**9
NOON = 1_700_000_000 * SECOND
LOOKS = 10_000  # at the ledger, for what a few suffice


def test_observed_times_are_noted_although_old_sessions_cannot_be_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(history_keeper, "NOTE_EVERY", 0.0)
    monkeypatch.setattr(background, "_AGAIN", 0.0)

    async def main() -> None:
        too_old = HistoryPolicy(age=1 << 70)  # SQLite cannot hold the time before which to drop
        ledger = await SqliteLedger.open("sqlite://", policy=too_old, now=lambda: NOON + SECOND)
        times = ObservedTimes("a")
        task = in_background(HistoryKeeper(ledger, [times]).keep, "keeping the history")
        try:
            for moment in (NOON, NOON + SECOND):
                times.observe(moment, moment / SECOND, is_partial=False, continues=True)
                for _ in range(LOOKS):
                    if await ledger.covered_until("a") == moment and caplog.records:
                        break
                assert await ledger.covered_until("a") == moment
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await ledger.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert {record.message for record in caplog.records} == {
        "keeping the history failed; beginning again"
    }
