"""Follows one core: collects what it states until that is a state, and hands it to its shard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from typing import NamedTuple, Protocol

from sessiongate.client.asynchronous import AsyncClient
from sessiongate.client.reflector import Began, Lost, Reflector
from sessiongate.core.collect.truncation import printable
from sessiongate.core.follow.shown_shard import ShownShard, StatedSession
from sessiongate.core.ledger.postgresql.starts import INSTANCE_BITS
from sessiongate.core.sources.support.pacing import Pace, parts
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.session_service_pb2 import SourceStatus, WatchSessionsResponse

log = logging.getLogger(__name__)

SILENT_AFTER = 2.0  # seconds without proof that a shard is current until it is named
_PAUSE = 1.0  # seconds before a core is followed again after an unexpected error


class CoreToFollow(NamedTuple):
    """A core that is active for a shard, in one of its activities."""

    name: str
    address: str
    activity: int  # the upper bits of its revisions, another number each time; 0 if not known

    def __str__(self) -> str:
        return f"{self.name} ({self.address})" if self.name else self.address


class CoreUpdate:
    """The changes that a core has stated since its last state, or its whole state so far."""

    def __init__(self, *, is_whole: bool) -> None:
        self.is_whole = is_whole
        self.sessions: dict[int, StatedSession | None] = {}  # None if it was removed
        self.statuses: dict[str, SourceStatus] = {}
        self.removed_sources: set[str] = set()

    async def add(self, message: WatchSessionsResponse, shown: ShownShard, pace: Pace) -> None:
        """Take over a message."""
        changes = message.changes
        for removal in changes.removals:
            self.sessions[removal.id] = None
        for sessions in (message.snapshot.sessions, changes.upserts):
            async for part in parts(sessions, pace):
                self.sessions |= shown.stated(part, is_whole=self.is_whole)
        for statuses in (message.sync.sources, changes.sources):
            for status in statuses:
                self.statuses[status.name] = status
                self.removed_sources.discard(status.name)
        for name in changes.removed_sources:
            self.statuses.pop(name, None)
            self.removed_sources.add(name)

    def __bool__(self) -> bool:
        return bool(self.is_whole or self.sessions or self.statuses or self.removed_sources)

    @property
    def whole(self) -> Mapping[int, StatedSession]:
        """The sessions of a whole state."""
        return {ident: each for ident, each in self.sessions.items() if each is not None}


class UpdateTaker(Protocol):
    """Takes the updates of a follower."""

    shown: ShownShard

    async def take(self, follower: Follower, update: CoreUpdate, moment: float) -> bool:
        """Show an update that is current at a moment on `elapsed`; return whether that is done.

        If not, the follower has to start over.
        """

    def lose(self, follower: Follower) -> None:
        """Note that a core cannot be followed now; it is called again."""


class Follower:
    """Follows one core, from `start` to `stop`."""

    def __init__(self, core: CoreToFollow, client: AsyncClient, taker: UpdateTaker) -> None:
        self.core = core
        self.client = client
        self.heard_at = elapsed()  # when the last message came, or when this began
        self.lost = ""  # why it cannot be called; empty if it can
        self._taker = taker
        self._revision = 0  # what is shown of the core; 0 if that is not its state
        self._task: asyncio.Task[None] | None = None

    @property
    def is_heard(self) -> bool:
        """Whether it can be called, and something has come lately, or may still come."""
        return not self.lost and elapsed() - self.heard_at < SILENT_AFTER

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; the core is not called any longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self.client.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except Exception:
                log.exception("following the core %s failed; starting over", self.core)
                await asyncio.sleep(_PAUSE)
            self._revision = 0

    def _resume(self) -> int:
        return self._revision if self._taker.shown.is_whole else 0

    async def _follow(self) -> None:
        """Follow the core until what it states cannot be shown."""
        reflector = Reflector(self._resume, staleness=SILENT_AFTER, clock=elapsed)
        update = CoreUpdate(is_whole=True)
        async with aclosing(reflector.follow(self.client.watch_sessions)) as events:
            async for event in events:
                if isinstance(event, Lost):
                    self.lost = printable(str(event.error))
                    self._taker.lose(self)
                elif isinstance(event, Began):
                    update = CoreUpdate(is_whole=not event.resumed)
                else:
                    self.heard_at, self.lost = elapsed(), ""
                    await update.add(event, self._taker.shown, Pace())
                    if not event.HasField("as_of"):
                        continue
                    if self.core.activity not in (0, event.revision >> INSTANCE_BITS):
                        self.lost = "another core, or another start of it, answers there"
                        self._taker.lose(self)
                        await asyncio.sleep(_PAUSE)
                        return
                    moment = elapsed() - (reflector.age or 0.0)
                    if not await self._taker.take(self, update, moment):
                        return
                    self._revision = event.revision
                    update = CoreUpdate(is_whole=False)
