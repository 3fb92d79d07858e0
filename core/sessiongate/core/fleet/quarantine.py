"""Quarantines a source that ends its cores: tries it apart from others, and more and more rarely.

Each core of a shard would read it for the first time as soon as it takes over, and end, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from sessiongate.core.fleet.membership import LEAVE_TIMEOUT, Membership
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.postgresql.suspects import (
    Verdict,
    begin_first_read,
    end_first_read,
    end_first_reads,
)


class Quarantine:
    """The first reads of a core (`core.collect.first_reads`), until `close`."""

    def __init__(self, membership: Membership) -> None:
        """Keep the notes over the membership's connection."""
        self._membership = membership
        self._reader = membership.reader
        self._reading: dict[str, object] = {}  # each attempt is another object
        self._noted: set[str] = set()  # sources whose notes may be there
        self._ended = asyncio.Event()  # set, and replaced, when an attempt has ended
        self._apart = asyncio.Lock()
        self._alone = ""  # the source that has it

    async def begin(self, source: str, waiting: Callable[[str], None]) -> None:
        """Return when a source may be read; until then, tell ``waiting`` why it may not."""
        self._reading[source] = object()
        while True:
            try:
                verdict = await self._ask(source, alone=self._alone == source)
            except LedgerError:
                return  # to read it matters more than to note that
            if verdict.may_read:
                return
            self._end(source)
            waiting(_reason(verdict))
            if verdict.left_out_for:
                await asyncio.sleep(verdict.left_out_for)
            else:
                await self._apart.acquire()
                self._alone = source
                await self._others(dict(self._reading))
            self._reading[source] = object()

    async def attempt(self, source: str) -> str:
        """Return why a source, which is read alone, may not be read now; empty if it may."""
        try:
            verdict = await self._ask(source, alone=True)
        except LedgerError:
            return ""
        return "" if verdict.may_read else _reason(verdict)

    async def _ask(self, source: str, *, alone: bool) -> Verdict:
        self._noted.add(source)
        return await self._membership.call(
            lambda connection: begin_first_read(connection, source, self._reader, alone=alone)
        )

    async def end(self, source: str, *, is_read: bool) -> bool:
        """Note that the attempt has ended; return whether that is noted."""
        self._end(source)
        try:
            await self._membership.call(
                lambda connection: end_first_read(connection, source, self._reader, is_read=is_read)
            )
        except LedgerError:
            return False
        self._noted.discard(source)
        return True

    async def close(self) -> None:
        """Take all notes back: this core stops reading. Do not wait for a server that hangs."""
        if not self._noted:
            return
        self._noted.clear()
        # Else they count as an end, if this program ends before it reads the sources again.
        with suppress(LedgerError, TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self._membership.call(
                    lambda connection: end_first_reads(connection, self._reader)
                )

    def _end(self, source: str) -> None:
        self._reading.pop(source, None)
        self._ended.set()
        self._ended = asyncio.Event()
        if self._alone == source:
            self._alone = ""
            self._apart.release()

    async def _others(self, attempts: dict[str, object]) -> None:
        """Wait until the attempts that are under way have ended."""
        while any(self._reading.get(name) is each for name, each in attempts.items()):
            await self._ended.wait()


def _reason(verdict: Verdict) -> str:
    """Return in words why a source may not be read."""
    why = f"{verdict.ends} cores ended while they read it for the first time"
    if verdict.left_out_for:
        return f"left out for {verdict.left_out_for:.0f} s: {why}"
    return f"read after the other sources: {why}"
