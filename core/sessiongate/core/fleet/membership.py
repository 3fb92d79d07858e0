"""A core's time in its shard: it joins the fleet, stands by, and is seen while it is active."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar

from sessiongate.core.fleet.agreement import MemberSources, disagreements
from sessiongate.core.fleet.clock import ClockWatch
from sessiongate.core.fleet.directory import ActiveCore, Fleet, FleetShard
from sessiongate.core.fleet.heartbeats import HeartbeatWatch, Look
from sessiongate.core.fleet.member import Member, MemberEntry
from sessiongate.core.ledger.base import Ledger
from sessiongate.core.ledger.calls import LedgerCalls
from sessiongate.core.ledger.lock import LedgerError, LedgerHeldError
from sessiongate.core.ledger.postgresql.connection import Backend, LedgerAwayError, LedgerConnection
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.suspects import SourceReader
from sessiongate.runtime.background import in_background
from sessiongate.runtime.elapsed import elapsed

_T = TypeVar("_T")
log = logging.getLogger(__name__)

# Seconds.
LOOK_EVERY = 0.25  # between two looks of a stand-by
BEAT_EVERY = 0.5  # between two beats of an active core
LEAVE_TIMEOUT = 2.0  # that leaving may take
HAND_OVER = 3.0  # for which a core that stops waits for one that has just begun to stand by
FORMER_FIRST = 2.0  # for which, after a disturbance, the lock is left to who had it last
_DOUBT = 1.0  # for which a beat may stand still before this core's own is written durably
_AGAIN = 2.0  # until the lock is asked for again, if that has failed
_WAIT = (0.5, 5.0)  # between two attempts to reach the server: the first, and the most


class Membership:
    """The membership of one core, from `join` to `close`."""

    def __init__(self, url: str, entry: MemberEntry, takeover_after: float) -> None:
        """Name the ledger by its URL. Raises `LedgerError` if that is wrong."""
        self._member = Member(LedgerPlace.parse(url), entry)
        self._calls = LedgerCalls()
        self._one_work = asyncio.Lock()
        self._after = takeover_after
        self._beats = HeartbeatWatch(takeover_after)
        self._ledger: PostgresqlLedger | None = None  # while this core is, or becomes, active
        self._shown_at = 0.0  # when this core last showed that it runs, on `elapsed`
        self._fleet: Fleet | None = None  # as last seen; None while the server is away
        self._last_id = 0  # the highest that was reserved, as far as was ever seen
        self._error: LedgerError | None = None  # that ends the membership
        self._looked = asyncio.Event()  # set, and replaced, after each look
        self._disagreements: frozenset[str] = frozenset()  # that were logged
        self._free_since: float | None = None  # since when nobody has had the lock, on `elapsed`
        self._has_served = False  # it has stood by or been active: its configuration is possible
        self.clock = ClockWatch()
        self._is_away = False  # the server could not be reached the last time
        self._tasks: list[asyncio.Task[None]] = []
        self._taking_up: asyncio.Task[None] | None = None
        # How often this core took over, lost the pen, and ended another core.
        self.takeovers = self.pens_lost = self.ended = 0

    @property
    def shard(self) -> str:
        """The name of the core's shard."""
        return self._member.entry.shard or ""

    @property
    def ledger(self) -> PostgresqlLedger | None:
        """The ledger that this core has the pen of, or asks for it."""
        return self._ledger

    @property
    def is_reached(self) -> bool:
        """Whether the server answered the last time."""
        return self._fleet is not None

    @property
    def is_active(self) -> bool:
        """Whether this core was active at the last look."""
        shard = self._shard()
        active = None if shard is None else shard.active
        return active is not None and active.claim > 0 and active.name == self._member.entry.name

    @property
    def standbys(self) -> int:
        """How many cores stood by for the shard at the last look."""
        shard = self._shard()
        return 0 if self._fleet is None or shard is None else len(self._fleet.standing_by(shard))

    @property
    def beat_late(self) -> float:
        """Seconds for which the active core has not shown that it runs, as far as is known."""
        late = self._beats.stands_still_for if self._ledger is None else elapsed() - self._shown_at
        return max(0.0, late - BEAT_EVERY)

    async def join(self) -> None:
        """Take the name; wait for a server that is away. Raises `LedgerError`."""
        self._tasks.append(in_background(self._watch, "watching the ledger's server"))
        wait, most = _WAIT
        while True:
            try:
                await self._calls.run(self._member.look)
                break
            except LedgerAwayError as error:
                log.warning("%s; trying again in %.1f seconds", error, wait)
            await asyncio.sleep(wait)
            wait = min(2 * wait, most)
        self._tasks.append(asyncio.create_task(self._look_on()))

    async def move(self, address: str | None) -> None:
        """State where the core can be called; if the server is away, state it later."""
        try:
            await self._calls.run(lambda: self._member.move(address))
        except LedgerError as error:
            self._note(error)

    async def tell(self, unreadable: Sequence[str]) -> None:
        """State that this core, which stands by, has read its sources but some.

        Log what the cores of the fleet are not configured alike in.
        """
        try:
            await self._calls.run(lambda: self._member.tell(datetime.now(UTC), unreadable))
            others = await self._calls.run(self._member.others)
        except LedgerError as error:
            self._note(error)
            return
        entry = self._member.entry
        mine = MemberSources(entry.name, entry.shard, entry.places)
        found = frozenset(disagreements(mine, others))
        for text in sorted(found - self._disagreements):
            log.warning("%s", text)
        self._disagreements = found

    @property
    def reader(self) -> SourceReader:
        """This core as one that reads sources."""
        return self._member.reader

    async def call(self, work: Callable[[LedgerConnection], _T]) -> _T:
        """Return what some work returns on the member's connection. Raises `LedgerError`."""
        async with self._one_work:  # a beat must not wait for that of all sources
            return await self._calls.run(lambda: self._member.call(work))

    def use(self, ledger: PostgresqlLedger | None) -> None:
        """Show, or show no longer, that this core has the pen of a ledger, or asks for it."""
        self._ledger, self._shown_at = ledger, elapsed()
        if ledger is not None:
            ledger.pen.floor = self._last_id

    def served(self) -> None:
        """Note that this core has been active: from now on, it goes on after any failure."""
        self._has_served = True

    async def stand_by(
        self,
        take: Callable[[], Awaitable[Ledger]],
        waiting: Callable[[ActiveCore | None], Awaitable[None]],
    ) -> Ledger:
        """Return the ledger that `take` opens as soon as nobody else is active.

        A core that is active and hangs is ended. Until then ``waiting`` is called with the active
        core, or with None while the server is away. Raises `LedgerError`.
        """
        while True:
            shard = await self._next()
            if shard is not None and shard.active is None and self._may_take(shard):
                try:
                    return await take()
                except LedgerHeldError:
                    self.use(None)
                    continue  # another one was faster
                except LedgerError as error:  # such as of tables that are being dropped
                    if not self._has_served:
                        raise  # it can be fixed before the others depend on this core
                    self.use(None)
                    log.warning("%s; trying again in %.1f seconds", error, _AGAIN)
                    await asyncio.sleep(_AGAIN)
                    continue
            if shard is None or shard.active is not None:
                self._free_since = None
            await waiting(None if shard is None else shard.active)
            self._has_served = True

    async def keep(self) -> None:
        """Return when another core has become active for the shard of this one.

        Raises `LedgerHeldError` if another program has its name.
        """
        while True:
            active = shard.active if (shard := await self._next()) else None
            if active and active.claim and active.name != self._member.entry.name:
                log.error("%s has become active for the shard of this core", active.shown)
                return

    async def look(self) -> None:
        """Look at the fleet now, not only when it is time; note if that fails."""
        try:
            await self._look()
        except LedgerError as error:
            self._beats.miss()
            self._fleet = None
            self._note(error)
            if isinstance(error, LedgerHeldError):
                self._error = error
        except Exception:  # else this core would never take over
            log.exception("looking at the fleet failed")
            self._beats.miss()
            self._fleet = None

    async def watch(self, seen: Callable[[Fleet], None]) -> None:
        """Hand on who is in the fleet, at each look that the server answers.

        Raises `LedgerHeldError` if another program has this one's name.
        """
        while True:
            await self._next()
            if self._fleet is not None:
                seen(self._fleet)

    async def hand_over(self) -> None:
        """Wait until a core that stands by has read its sources: not for long, nor for none."""
        with suppress(TimeoutError, LedgerError):
            async with asyncio.timeout(HAND_OVER):
                await self.look()
                shard, is_told, name = self._shard(), False, self._member.entry.name
                while shard and self._fleet and not self._fleet.can_hand_over(shard, name):
                    if not is_told:
                        log.warning("waiting until a core that stands by has read its sources")
                    shard, is_told = await self._next(), True

    async def close(self) -> None:
        """Leave the fleet; do not wait for a server that hangs."""
        for task in (*self._tasks, self._taking_up):
            if task is not None:
                task.cancel()
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self._calls.run(self._member.close)
        except TimeoutError:
            self._member.cut()
        self._calls.abandon()

    def _may_take(self, shard: FleetShard) -> bool:
        """Return whether to ask for a free lock: who had it before a disturbance goes first."""
        if self.clock.trouble:
            return False
        since, now = self._beats.is_smooth_since, elapsed()
        self._free_since = self._free_since or now
        if self._is_second_choice(shard) and now - self._free_since < FORMER_FIRST:
            return False
        is_first = shard.former in (None, self._member.entry.name)
        return is_first or (since is not None and now - since >= FORMER_FIRST)

    def _is_second_choice(self, shard: FleetShard) -> bool:
        """Return whether another stand-by has read all its sources, and this one has not."""
        ready = self._fleet.ready_standbys(shard) if self._fleet else ()
        return bool(ready) and self._member.entry.name not in ready

    async def _next(self) -> FleetShard | None:
        """Return the shard at the next look; None if the server is away. Raises `LedgerError`."""
        if self._error is None:
            await self._looked.wait()
        if self._error is not None:
            raise self._error
        return self._shard()

    def _is_shown(self) -> bool:  # so lately that the others leave the lock to this core
        return elapsed() - self._shown_at <= self._after

    def _shard(self) -> FleetShard | None:
        return None if self._fleet is None else self._fleet.shard(self.shard)

    async def _look_on(self) -> None:
        """Look at the fleet again and again, and show that this core runs."""
        while self._error is None:
            await self.look()
            self._looked.set()
            self._looked = asyncio.Event()
            await asyncio.sleep(LOOK_EVERY if self._ledger is None else BEAT_EVERY)

    async def _look(self) -> None:
        ledger = self._ledger
        pen = None if ledger is None else ledger.pen
        # A core whose pen does not answer is as good as one that hangs.
        beats = pen is None or pen.is_down or pen.waits_for < self._after
        is_durable = self._beats.stands_still_for > _DOUBT
        asked, shown = elapsed(), time.time()
        fleet, own = await self._calls.run(
            lambda: self._member.look(beats=beats, is_durable=is_durable, off=self.clock.off)
        )
        self._fleet, self._last_id = fleet, max(self._last_id, fleet.last_id)
        self._note(None)
        if fleet.time is not None and self.shard:  # a front writes no times
            self.clock.compare(shown, fleet.time, time.time())
        shard = self._shard()
        active = None if shard is None else shard.active
        if ledger is None:
            look = Look(
                *(asked, elapsed(), own, is_durable),
                *(None, None) if active is None else (active.backend, active.beat),
            )
            if (hanging := self._beats.take(look)) and shard is not None:
                await self._end(shard, hanging)
            return
        self._beats.miss()
        self._shown_at, ledger.pen.floor = asked, self._last_id
        ledger.pen.has_others |= fleet.has_other_cores(self._member.entry.name)
        # At once, not only when there is something to write: the others give it some time. A look
        # that was asked for before this core was stopped, and answered after, gives it none.
        is_lost = ledger.pen.is_down or (active is None and ledger.pen.instance > 0)
        if is_lost and self._is_shown() and (self._taking_up is None or self._taking_up.done()):
            ledger.pen.take_up()
            self._taking_up = asyncio.create_task(ledger.take_up())

    async def _end(self, shard: FleetShard, hanging: Backend) -> None:
        """End the connection of a core that hangs, and so free its lock."""
        shown = shard.active.shown if shard.active else "a core"
        log.warning(
            "%s has not shown for %.1f seconds that it runs: ending its connection %d",
            *(shown, self._beats.stands_still_for, hanging.pid),
        )
        await self._calls.run(lambda: self._member.end(shard.number, hanging))
        self.ended += 1

    def _note(self, error: LedgerError | None) -> None:
        """Log once that the server is away, and once that it is back."""
        if error is not None and not self._is_away:
            log.warning("%s; trying again", error)
        elif error is None and self._is_away:
            log.warning("the ledger's server is there again")
        self._is_away = error is not None

    async def _watch(self) -> None:
        """Give up what the server does not answer; put the pen down if others see no beat."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._member.waits_for > self._after:
                self._member.cut()
            pen = None if self._ledger is None else self._ledger.pen
            if pen and not pen.is_down and not self._is_shown():
                log.warning("giving up the shard's lock: this core cannot show that it runs")
                pen.put_down()
                self.pens_lost += 1
