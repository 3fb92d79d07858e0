"""Helpers to observe a source in tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sessiongate.core.sources.base import Observation, Observed, Source, SourceError
from tests.servers import PATIENCE

_PAUSE = 0.01  # seconds between two looks: what is waited for needs the CPU


def values(observation: Observation) -> list[tuple[object, ...]]:
    """Return what an observation states about sessions, comparable with another's."""
    return [stated(item) for item in observation.sessions]


def stated(item: Observed) -> tuple[object, ...]:
    """Return what a source states about a session, comparable with what it states elsewhere."""
    names = (
        "key",
        "session",
        "accepted",
        "opened",
        "unreadable",
        "stated_id",
        "former",
        "blocked_by",
    )
    return tuple(getattr(item, name) for name in names)


async def seen(source: Source, wanted: Callable[[list[Observed]], bool]) -> list[Observed]:
    """Observe the source until it shows what is wanted; return that."""
    found: list[Observed] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                found = list((await source.observe()).sessions)
                if wanted(found):
                    return found
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise AssertionError(f"still {found!r}") from None


async def until_same(source: Source) -> Observation:
    """Observe until nothing changes any more; return what did not change.

    A server may state an age: if its answer arrives late, what it says seems to have changed.
    """
    async with asyncio.timeout(PATIENCE):
        while (first := await source.observe()) is not await source.observe():
            pass
    return first


async def arriving(body: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    """Yield a body in parts, as it arrives from the network."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def refusal(observing: Awaitable[Observation]) -> str:
    """Return the text of the error that an observation ends with."""
    with pytest.raises(SourceError) as caught:
        await observing
    return str(caught.value)


async def hanging(source: Source) -> None:
    """Observe until that hangs, then give up: a stopped server may have one answer left."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with asyncio.timeout(0.2):
                    await source.observe()
            except TimeoutError:
                return
