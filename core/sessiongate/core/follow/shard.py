"""A shard as a front follows it: by the core that is active, and by the one that takes over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from sessiongate.client.asynchronous import AsyncClient
from sessiongate.core.collect.observed_times import ObservedTimes
from sessiongate.core.follow.follower import SILENT_AFTER, CoreToFollow, CoreUpdate, Follower
from sessiongate.core.follow.shown_shard import ShownShard
from sessiongate.core.ledger.coverage import Interval
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed

log = logging.getLogger(__name__)

_AGAIN = 0.5  # seconds until a shard that could not fall silent is looked at again
_KEPT = 60 * 10**9  # ns: cores write sooner when they observed a source (`collect.history_keeper`)

Connect = Callable[[str], AsyncClient]


class FollowedShard:
    """A shard of the fleet, until `close`.

    ``current`` is the follower of the core whose state is shown, ``following`` the one of a core
    that is to replace it. ``moment`` is until when what is shown is known to be current, on
    `elapsed`. ``silent_since`` is in ns since the epoch.
    """

    def __init__(self, name: str, table: SessionTable, shown: ShownShard, connect: Connect) -> None:
        self.name = name
        self.shown = shown
        self.current: Follower | None = None
        self.following: Follower | None = None
        self.moment: float | None = None
        self.state_since = time.time_ns()  # of `is_heard`
        self.is_heard = False
        self.has_core = False  # whether one is active
        self.is_settled = asyncio.Event()  # it was heard, or tried and named
        self.trouble = ""  # why it is not heard
        self._table = table
        self._connect = connect
        self._lock = asyncio.Lock()  # who has it changes what is shown
        self._ending: set[asyncio.Task[None]] = set()  # followers that stop
        self._observed: dict[str, ObservedTimes] = {}
        self._readable: set[str] = set()  # sources at the last proof

    def change_over(self, core: CoreToFollow | str) -> None:
        """Follow another core as soon as its whole state is there; a text says why there is none.

        The last one is followed meanwhile, if there was one.
        """
        self.has_core = not isinstance(core, str)
        if isinstance(core, str):
            if self.current is None and self.following is None:
                self._name(core)
            return
        if self.following is not None:
            if self.following.core == core:
                return
            self._drop(self.following)
            self.following = None
        if self.current is None or self.current.core != core:
            self._follow(core)

    def begin_anew(self) -> None:
        """Ask the core for its whole state again."""
        if self.following is None and self.current is not None:
            self._follow(self.current.core)

    def _follow(self, core: CoreToFollow) -> None:
        self.following = Follower(core, self._connect(core.address), self)
        self.following.start()
        if not self.is_settled.is_set():
            self._table.deadlines.set(self._fall_silent, elapsed() + SILENT_AFTER)

    def _drop(self, follower: Follower) -> None:
        task = asyncio.create_task(follower.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def take(self, follower: Follower, update: CoreUpdate, moment: float) -> bool:
        """Show an update that is current at a moment; return whether that is done."""
        if not update and self.is_heard and follower is self.current and self.shown.is_whole:
            self._prove(moment)
            return True
        async with self._lock:
            if follower is self.following and update.is_whole:
                former, self.current, self.following = self.current, follower, None
                if former is not None:
                    log.warning("shard %s: following core %s now", self.name, follower.core)
                    self._drop(former)
            if follower is not self.current or not (update.is_whole or self.shown.is_whole):
                return False
            if update.is_whole:
                await self.shown.show_whole(update.whole, update.statuses, Pace())
            else:
                await self.shown.show_changes(
                    *(update.sessions, update.statuses, update.removed_sources, Pace())
                )
            self._prove(moment)
        return True

    def lose(self, follower: Follower) -> None:
        """Note that a core cannot be called."""
        if not self.is_heard:
            self._fall_silent()

    def _prove(self, moment: float) -> None:
        """Note that what is shown is current until a moment.

        If that was too long ago, as after a core has hung, the shard stays or becomes silent.
        """
        self.moment = max(moment, self.moment or moment)
        if elapsed() >= self.moment + SILENT_AFTER:
            self._name_silent()
            return
        if not self.is_heard:
            if self.is_settled.is_set():
                log.warning("shard %s is heard again", self.name)
            self.is_heard, self.state_since, self.trouble = True, time.time_ns(), ""
        self.is_settled.set()
        self._table.deadlines.set(self._fall_silent, self.moment + SILENT_AFTER)
        self._observe(self.moment)
        self._table.log.touch()

    def _fall_silent(self) -> None:
        """Name the shard, unless something of it is about to be shown."""
        follower = self.following or self.current
        is_copying = self.moment is None and follower is not None and follower.is_heard
        if self._lock.locked() or is_copying:
            self._table.deadlines.set(self._fall_silent, elapsed() + _AGAIN)
            return
        self._name_silent()

    def _name_silent(self) -> None:
        """Name the shard, with which core is not heard, and why."""
        follower = self.following
        if follower is None or (self.current is not None and follower.is_heard):
            follower = self.current
        lost = "" if follower is None else follower.lost
        core = "the core" if follower is None else f"core {follower.core}"
        self._name(f"{core} is not heard: {lost or f'nothing has come for {SILENT_AFTER:g} s'}")

    def _name(self, why: str) -> None:
        """Show the shard's sources as unreachable."""
        if self.is_heard or not self.is_settled.is_set():
            self.state_since = time.time_ns()
            log.warning("shard %s: %s", self.name, why)
        self.is_heard, self.trouble = False, why
        self._table.deadlines.cancel(self._fall_silent)
        self.shown.silence(f"shard {self.name}: {why}", self.moment or elapsed())
        self._readable.clear()
        self.is_settled.set()

    async def hide_stale(self) -> None:
        """Hide sessions that nobody has observed for too long."""
        if elapsed() >= self.shown.stale_at:
            async with self._lock:
                await self.shown.hide_stale(Pace())

    def observed(self, now: int) -> list[Interval]:
        """Return when sources were observed lately, as far as this front has heard."""
        found: list[Interval] = []
        for name, times in self._observed.items():
            found += times.until(now, elapsed(), is_current=name in self._readable)
        return found

    def _observe(self, moment: float) -> None:
        at = time.time_ns() - int((elapsed() - moment) * 1e9)
        readable = set()
        for name in self.shown.sources:
            state = self._table.source(name)
            if state.reachable:
                readable.add(name)
                times = self._observed.setdefault(name, ObservedTimes(name))
                continues = name in self._readable
                times.observe(at, moment, is_partial=bool(state.partial), continues=continues)
                times.written([each for each in times.intervals if each.end < at - _KEPT])
        self._readable = readable

    async def remove(self) -> None:
        """Stop following the shard, and remove what is shown of it."""
        await self.close()
        async with self._lock:
            await self.shown.show_whole({}, {}, Pace())

    async def close(self) -> None:
        """Stop following."""
        self._table.deadlines.cancel(self._fall_silent)
        for follower in (self.current, self.following):
            if follower is not None:
                await follower.stop()
        if self._ending:
            await asyncio.wait(self._ending)
