"""How a core that stands by reads its sources, and who closes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest

from sessiongate.core.collect import observer as observing
from sessiongate.core.collect.observer import Observer, Standby, StandbySource
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import Observation, SourceConfig
from tests.core.sources import ScriptedSource

CONFIG = SourceConfig.parse("fake:", {"interval": "0.001", "timeout": "3600"})


def test_a_source_whose_own_task_was_cancelled_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observing, "OBSERVE_EVERY", 0.001)
    told: asyncio.Queue[Sequence[str]] = asyncio.Queue()

    async def main() -> None:
        source = ScriptedSource()
        observer = Observer(lambda: [(CONFIG, source)], told.put)
        observer.start()
        source.raising = asyncio.CancelledError()
        await asyncio.wait_for(source.step(), 30)
        assert await told.get() == ("fake",)
        source.raising = None
        await asyncio.wait_for(source.step(), 30)
        assert await told.get() == ()
        await observer.stop()

    asyncio.run(main())


class _Stubborn(ScriptedSource):
    """A source that goes on when its reading is cancelled, until it is `closed`."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def observe(self) -> Observation:
        self.begun.set()
        while not self.ended.is_set():
            with suppress(asyncio.CancelledError):
                await self.ended.wait()
        return Observation([])

    async def close(self) -> None:
        await super().close()
        self.ended.set()


def test_a_source_that_does_not_end_its_reading_is_closed_and_nothing_else_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observing, "_END_TIMEOUT", 0.01)
    opened: list[ScriptedSource] = []
    told: list[Sequence[str]] = []

    async def tell(unreadable: Sequence[str]) -> None:
        told.append(unreadable)

    def opens() -> Sequence[tuple[SourceConfig, ScriptedSource]]:
        opened.extend((stubborn, other))
        return [(CONFIG, stubborn), (CONFIG, other)]

    async def main() -> None:
        observer = Observer(opens, tell)
        observer.start()
        reading = observer._task
        assert reading is not None
        await stubborn.begun.wait()
        [kept], _ = await observer.stop()
        assert kept.source is other
        await asyncio.wait_for(asyncio.wait((reading,)), 30)
        assert stubborn.closed
        assert (len(opened), told, other.closed) == (2, [], False)

    stubborn, other = _Stubborn(), ScriptedSource()
    asyncio.run(main())


def test_what_was_read_while_standing_by_is_closed_if_the_ledger_fails_at_the_start() -> None:
    async def main() -> None:
        source = ScriptedSource()
        standby = Standby([StandbySource(CONFIG, source)])
        ledger = await SqliteLedger.open("sqlite://", now=time.time_ns)
        await ledger.close()
        config = CoreConfig(sources=(CONFIG,), grpc="127.0.0.1:0")
        with pytest.raises((LedgerError, RuntimeError)):
            await Core(config, ledger, standby=standby).start()
        assert source.closed

    asyncio.run(main())
