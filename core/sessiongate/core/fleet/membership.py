"""A core's time in its shard: it joins the fleet, stands by, and is seen while it is active."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sessiongate.core.fleet.directory import ActiveCore, Fleet
from sessiongate.core.fleet.member import Member, MemberEntry
from sessiongate.core.ledger.base import Ledger
from sessiongate.core.ledger.calls import LedgerCalls
from sessiongate.core.ledger.lock import LedgerError, LedgerHeldError
from sessiongate.core.ledger.postgresql.connection import LedgerAwayError
from sessiongate.core.ledger.postgresql.place import LedgerPlace

log = logging.getLogger(__name__)

# Seconds.
LOOK_EVERY = 0.25  # between two looks of a stand-by
BEAT_EVERY = 0.5  # between two beats of an active core
UNANSWERED = 5.0  # after which a statement that has no answer is given up
LEAVE_TIMEOUT = 2.0  # that leaving may take
_WAIT = (0.5, 5.0)  # between two attempts to reach the server: the first, and the most


class Membership:
    """The membership of one core, until `close`."""

    def __init__(self, url: str, entry: MemberEntry) -> None:
        """Name the ledger by its URL. Raises `LedgerError` if that is wrong."""
        self._member = Member(LedgerPlace.parse(url), entry)
        self._calls = LedgerCalls()
        self._watching: asyncio.Task[None] | None = None
        self._is_away = False  # the server could not be reached the last time

    async def join(self) -> None:
        """Take the name; wait for a server that is away. Raises `LedgerError`."""
        self._watching = asyncio.create_task(self._watch())
        wait, most = _WAIT
        while True:
            try:
                return await self._calls.run(self._member.beat)
            except LedgerAwayError as error:
                log.warning("%s; trying again in %.1f seconds", error, wait)
            await asyncio.sleep(wait)
            wait = min(2 * wait, most)

    async def move(self, address: str | None) -> None:
        """State where the core can be called; a server that is away is told later."""
        try:
            await self._calls.run(lambda: self._member.move(address))
        except LedgerAwayError as error:
            self._note(error)

    async def stand_by(
        self,
        take: Callable[[], Awaitable[Ledger]],
        waiting: Callable[[ActiveCore | None], Awaitable[None]],
    ) -> Ledger:
        """Return the ledger that `take` opens as soon as nobody else is active.

        Until then ``waiting`` is called with the active core, or with None while the server is
        away. Raises `LedgerError`.
        """
        while True:
            fleet = await self._look()
            shard = None if fleet is None else fleet.shard(self._member.entry.shard or "")
            if shard is not None and shard.active is None:
                try:
                    return await take()
                except LedgerHeldError:
                    continue  # another one was faster
            await waiting(None if shard is None else shard.active)
            await asyncio.sleep(LOOK_EVERY)

    async def keep(self) -> None:
        """Show that the active core runs, until another one is active for its shard.

        Raises `LedgerHeldError` if another program has its name.
        """
        entry = self._member.entry
        while True:
            try:
                fleet = await self._look()
            except LedgerHeldError:
                raise
            except LedgerError as error:  # such as of a schema that was dropped
                self._note(error)
                fleet = None
            shard = None if fleet is None else fleet.shard(entry.shard or "")
            if shard and shard.active and shard.active.claim and shard.active.name != entry.name:
                log.error("%s has become active for the shard %s", shard.active.shown, shard.name)
                return
            await asyncio.sleep(BEAT_EVERY)

    async def close(self) -> None:
        """Leave the fleet; do not wait for a server that hangs."""
        if self._watching is not None:
            self._watching.cancel()
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self._calls.run(self._member.close)
        except TimeoutError:
            self._member.cut()
        self._calls.abandon()

    async def _look(self) -> Fleet | None:
        try:
            fleet = await self._calls.run(self._member.look)
        except LedgerAwayError as error:
            self._note(error)
            return None
        self._note(None)
        return fleet

    def _note(self, error: LedgerError | None) -> None:
        """Log once that the server is away, and once that it is back."""
        if error is not None and not self._is_away:
            log.warning("%s; trying again", error)
        elif error is None and self._is_away:
            log.warning("the ledger's server is there again")
        self._is_away = error is not None

    async def _watch(self) -> None:
        """Give up statements that the server does not answer."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._member.waits_for > UNANSWERED:
                self._member.cut()
