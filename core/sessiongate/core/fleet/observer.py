"""Reads the sources of a core that stands by, only to find out whether it could take them over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from sessiongate.core.sources.base import Source, SourceConfig

log = logging.getLogger(__name__)

OBSERVE_EVERY = 30.0  # seconds between two rounds


class Observer:
    """Reads one source after the other, and keeps nothing."""

    def __init__(
        self,
        open_sources: Callable[[], Sequence[tuple[SourceConfig, Source]]],
        tell: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        """``tell`` is told after each round which sources could not be read."""
        self._open, self._tell = open_sources, tell
        self._unreadable: tuple[str, ...] = ()

    async def run(self) -> None:
        """Read all of them again and again."""
        while True:
            try:
                await self._round()
            except Exception:
                log.exception("reading the sources while standing by failed")
            await asyncio.sleep(OBSERVE_EVERY)

    async def _round(self) -> None:
        found = []
        for config, source in self._open():
            if fault := await _fault(config, source):
                found.append(config.name)
                if config.name not in self._unreadable:
                    log.warning(
                        "source %s cannot be read by this core, which stands by: %s",
                        *(config.name, fault),
                    )
        self._unreadable = tuple(found)
        await self._tell(self._unreadable)


async def _fault(config: SourceConfig, source: Source) -> str:
    """Read a source and close it; return why that failed, if it did."""
    try:
        async with asyncio.timeout(config.timeout):
            await source.observe()
    except TimeoutError:
        return f"did not respond within {config.timeout:g} s"
    except (Exception, SystemExit) as error:
        return str(error) or type(error).__name__
    finally:
        try:
            async with asyncio.timeout(config.timeout):
                await source.close()
        except Exception as error:
            log.warning("source %s failed to close: %s", config.name, type(error).__name__)
    return ""
