"""Reads a source after an act, until the session is seen to have ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sessiongate.core.collect.runner import Runner
from sessiongate.core.sources.acting import Action
from sessiongate.core.table.row import Row
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.activities import WORKING

# Seconds from one look whether a session has ended to the next.
_FIRST_PAUSE, _LAST_PAUSE = 0.02, 1.0


class Aftermath:
    """Looks on after acts, whether or not their callers still wait."""

    def __init__(self, table: SessionTable) -> None:
        self._table = table
        self._tasks: set[asyncio.Task[int]] = set()

    def begin(self, action: Action, row: Row, runner: Runner, longest: float) -> asyncio.Task[int]:
        """Look for ``longest`` seconds at most whether a session, or its statement, has ended.

        ``row`` is the session as it was before the act. The task returns the revision of the table
        that shows the end, or 0.
        """
        looking = asyncio.create_task(self._look(action, row, runner, longest))
        self._tasks.add(looking)
        looking.add_done_callback(self._tasks.discard)
        return looking

    def close(self) -> None:
        """Look no longer."""
        for task in self._tasks:
            task.cancel()

    async def _look(self, action: Action, row: Row, runner: Runner, longest: float) -> int:
        moment, pause = elapsed(), _FIRST_PAUSE
        has_ended = self._is_gone if action is Action.TERMINATE else self._is_idle
        with suppress(TimeoutError):
            async with asyncio.timeout(longest):
                while True:
                    await runner.observed_since(moment)
                    if has_ended(row):
                        return self._table.revision
                    await asyncio.sleep(pause)
                    moment, pause = elapsed(), min(2 * pause, _LAST_PAUSE)
        return 0

    def _is_gone(self, row: Row) -> bool:
        return row.id not in self._table and row.id not in self._table.unseen

    def _is_idle(self, row: Row) -> bool:
        """Return whether a session no longer runs the statement that it ran."""
        now = self._table.row(row.id)
        if now is None:
            return self._is_gone(row)
        return now.group.values.activity not in WORKING or now.since != row.since
