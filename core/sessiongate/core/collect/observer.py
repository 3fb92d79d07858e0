"""Reads the sources of a core that stands by, so that it could take them over at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from sessiongate.core.collect.first_reads import FirstReads
from sessiongate.core.collect.prepared import PreparedSessions, forget_prepared, prepared_session
from sessiongate.core.collect.runner import close_source, is_own_cancellation, why_failed
from sessiongate.core.collect.scopes import Scopes
from sessiongate.core.sources.base import Observation, Source, SourceConfig, SourceError
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.table.row import Values
from sessiongate.runtime.memory import FreeMemory, untrack

log = logging.getLogger(__name__)

OBSERVE_EVERY = 30.0  # seconds between two rounds
_MANY = 10_000  # sessions prepared: what that took of memory is worth returning
_END_TIMEOUT = 1.0  # seconds that a source may take to end an observation that is not wanted


class StandbySource:
    """A source that is read while the core stands by, and its sessions as they were last read."""

    def __init__(
        self, config: SourceConfig, source: Source, max_session: int, scopes: Scopes | None
    ) -> None:
        self.config, self.source = config, source
        self.prepared: PreparedSessions = {}
        self.is_read = False  # at this moment
        self.was_read = False  # once at least, as far as ``first_reads`` know
        self._max_session = max_session
        self._scopes = None if scopes is None else scopes.of(config)
        self._memory = FreeMemory()

    async def fault(self) -> str:
        """Read the source; return why that failed, if it did."""
        self.is_read = True
        try:
            why = await self._read()
        finally:
            self.is_read = False
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # the source has not let itself be cancelled
        return why

    async def _read(self) -> str:
        try:
            async with asyncio.timeout(self.config.timeout):
                observation = await self.source.observe()
            if not isinstance(observation, Observation):
                got = type(observation).__name__
                raise SourceError(f"observe() must return an Observation, got {got}")
            await self._prepare(observation)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if is_own_cancellation(error):
                raise
            return why_failed(self.config, error)
        return ""

    async def _prepare(self, observation: Observation) -> None:
        """Prepare the sessions that differ from those before, in short turns."""
        pace, before = Pace(), self.prepared
        prepared: PreparedSessions = {}
        shared: dict[Values, Values] = {}  # many sessions have the same
        made = 0
        try:
            for item in observation.sessions[: self.config.max_sessions]:
                if (found := before.pop(item, None)) is not None:
                    shared.setdefault(found.values, found.values)
                else:
                    found = prepared_session(
                        item, self.config.name, self._max_session, self._scopes, shared
                    )
                    made += 1
                if found is not None:
                    prepared[item] = found
                await pace.pause()
            await forget_prepared(before, pace)
        finally:  # if it is time to be active, some are still those of before
            prepared.update(before)
            untrack(prepared)
            self.prepared = prepared
        if made >= _MANY:
            self._memory.give_back_soon()

    async def close(self) -> None:
        """Close the source; one that hangs or fails is abandoned."""
        await close_source(self.config.name, self.source)


class Observer:
    """Reads one source after the other, from `start` to `stop`, again and again."""

    def __init__(
        self,
        open_sources: Callable[[], Sequence[tuple[SourceConfig, Source]]],
        tell: Callable[[Sequence[str]], Awaitable[None]],
        max_session: int,
        scopes: Scopes | None,
        first_reads: FirstReads | None = None,
    ) -> None:
        """``tell`` is told after each round which sources could not be read.

        Ask ``first_reads`` before a source is read for the first time.
        """
        self._first_reads = first_reads
        self._open, self._tell = open_sources, tell
        self._max_session, self._scopes = max_session, scopes
        self._sources: list[StandbySource] = []
        self._unreadable: tuple[str, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()  # sources that did not end a reading

    def start(self) -> None:
        """Begin, unless this has begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> Sequence[StandbySource]:
        """End; hand over the sources, which are open.

        Those that do not end a reading are closed, which nobody waits for.
        """
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=_END_TIMEOUT)
        sources, self._sources, self._task = self._sources, [], None
        for each in sources:
            if each.is_read:
                closing = asyncio.create_task(each.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
        return [each for each in sources if not each.is_read]

    async def _run(self) -> None:
        while True:
            try:
                if not self._sources:
                    way = self._max_session, self._scopes
                    self._sources = [StandbySource(*each, *way) for each in self._open()]
                await self._round()
            except Exception:
                log.exception("reading the sources while standing by failed")
            await asyncio.sleep(OBSERVE_EVERY)

    async def _fault(self, each: StandbySource) -> str:
        reads, name = self._first_reads, each.config.name
        if reads is None or each.was_read:
            return await each.fault()
        if why := await reads.attempt(name):
            return why
        fault = await each.fault()
        if await reads.end(name, is_read=not fault):
            each.was_read = not fault
        return fault

    async def _round(self) -> None:
        found = []
        for each in self._sources:
            if fault := await self._fault(each):
                name = each.config.name
                found.append(name)
                if name not in self._unreadable:
                    log.warning(
                        "source %s cannot be read by this core, which stands by: %s",
                        *(name, fault),
                    )
        self._unreadable = tuple(found)
        await self._tell(self._unreadable)
