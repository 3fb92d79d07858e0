"""Reads the sources of a core that stands by, so that it could take them over at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from sessiongate.core.collect.first_reads import FirstReads
from sessiongate.core.collect.runner import close_source, is_own_cancellation, why_failed
from sessiongate.core.collect.warm_table import WarmTable
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.sources.base import Observation, Source, SourceConfig, SourceError
from sessiongate.runtime.elapsed import elapsed

log = logging.getLogger(__name__)

# Seconds between two rounds; half of the first ones, while the ledger lacks much of what is read.
OBSERVE_EVERY, OBSERVE_AGAIN = 30.0, 1.0
_END_TIMEOUT = 1.0  # seconds that a source may take to end an observation that is not wanted


class StandbySource:
    """A source that is read while the core stands by."""

    def __init__(self, config: SourceConfig, source: Source) -> None:
        self.config, self.source = config, source
        self.is_read = False  # at this moment
        self.was_read = False  # once at least, as far as ``first_reads`` know

    async def fault(self, warm: WarmTable | None) -> str:
        """Read the source and put what it states into the table; return why that failed, or ""."""
        self.is_read = True
        try:
            why = await self._read(warm)
        finally:
            self.is_read = False
        _end_if_cancelled()
        return why

    async def _read(self, warm: WarmTable | None) -> str:
        requested = elapsed()
        try:
            async with asyncio.timeout(self.config.timeout):
                observation = await self.source.observe()
            _end_if_cancelled()
            if not isinstance(observation, Observation):
                got = type(observation).__name__
                raise SourceError(f"observe() must return an Observation, got {got}")
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if is_own_cancellation(error):
                raise
            return why_failed(self.config, error)
        if warm is not None:
            try:
                await warm.take(self.config, observation, requested)
            except LedgerError as error:
                log.info("source %s is not in the warm table now: %s", self.config.name, error)
            except Exception as error:  # a plugin may state anything, such as a key that is no text
                return why_failed(self.config, error)
        return ""

    async def close(self) -> None:
        """Close the source; one that hangs or fails is abandoned."""
        await close_source(self.config.name, self.source)


def _end_if_cancelled() -> None:
    """Raise `CancelledError` if a source has not let itself be cancelled."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Standby(NamedTuple):
    """The open sources and the table that a core has when it no longer stands by."""

    sources: Sequence[StandbySource] = ()  # which are open
    warm: WarmTable | None = None

    async def close(self) -> None:
        """Close the sources, which nobody has taken over."""
        await asyncio.gather(*(each.close() for each in self.sources))


class Observer:
    """Reads one source after the other, from `start` to `stop`, again and again."""

    def __init__(
        self,
        open_sources: Callable[[], Sequence[tuple[SourceConfig, Source]]],
        tell: Callable[[Sequence[str]], Awaitable[None]],
        warm_up: Callable[[WarmTable | None], Awaitable[WarmTable | None]] | None = None,
        first_reads: FirstReads | None = None,
    ) -> None:
        """``tell`` is called after each round with the sources that could not be read.

        Before each, ``warm_up`` is called with the last table, and returns the one to go on
        with, if any. Ask ``first_reads`` before a source is read for the first time.
        """
        self._first_reads = first_reads
        self._open, self._tell = open_sources, tell
        self._warm_up = warm_up
        self._warm: WarmTable | None = None
        self._sources: list[StandbySource] = []
        self._unreadable: tuple[str, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()  # sources that did not end a reading

    def start(self) -> None:
        """Begin, unless this has begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> Standby:
        """End; hand over the sources, which are open, and the warm table.

        Those that do not end a reading are closed, which nobody waits for.
        """
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=_END_TIMEOUT)
        sources, self._sources, self._task = self._sources, [], None
        warm, self._warm = self._warm, None
        for each in sources:
            if each.is_read:
                closing = asyncio.create_task(each.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
        return Standby([each for each in sources if not each.is_read], warm)

    async def _run(self) -> None:
        pause = OBSERVE_AGAIN
        while True:
            try:
                if not self._sources:
                    self._sources = [StandbySource(*each) for each in self._open()]
                await self._round()
            except Exception:
                log.exception("reading the sources while standing by failed")
            is_early = self._warm is not None and self._warm.is_early
            pause = min(2 * pause, OBSERVE_EVERY) if is_early else OBSERVE_EVERY
            await asyncio.sleep(pause)

    async def _fault(self, each: StandbySource) -> str:
        reads, name = self._first_reads, each.config.name
        if reads is None or each.was_read:
            return await each.fault(self._warm)
        if why := await reads.attempt(name):
            return why
        fault = await each.fault(self._warm)
        if await reads.end(name, is_read=not fault):
            each.was_read = not fault
        return fault

    async def _round(self) -> None:
        if self._warm_up is not None:
            self._warm = await self._warm_up(self._warm)
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
