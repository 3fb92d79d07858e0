"""A core that starts, or stops, while its ledger's server hangs or ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from sessiongate.core.ledger.postgresql import ledger as ledgers
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from tests.core.engines import Engine, running_engine
from tests.faults.scale import times
from tests.relay import Relay

BYTES = times(1499, 97)  # from one cut to the next


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running_engine() as engine:
        yield engine


@pytest.mark.parametrize("way", ["answers_left", "requests_left"])
def test_a_core_waits_for_a_server_that_ends_while_it_starts(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(ledgers, "_WAIT", (0.01, 0.01))

    async def work() -> None:
        async with Relay(engine.server.port) as relay:
            url = engine.url(engine.database(), port=relay.port)
            is_cut, left = True, 0
            while is_cut:
                setattr(relay, way, left)
                ledger = await PostgresqlLedger.open(url, now=time.time_ns)
                is_cut = getattr(relay, way) is None
                setattr(relay, way, None)
                await ledger.close()
                left += BYTES
            assert left > 2 * BYTES

    asyncio.run(work())
