"""A core that starts, or stops, while its ledger's server hangs or ends."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.postgresql import connection, schema
from sessiongate.core.ledger.postgresql import ledger as ledgers
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from tests.core.engines import Engine
from tests.faults.scale import times
from tests.polling import eventually
from tests.relay import Relay, at_once

BYTES = times(1499, 97)  # from one cut to the next


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


@pytest.mark.long
def test_a_server_that_hangs_while_it_is_connected_to_is_given_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lets the core in, and answers nothing afterwards: when a core starts, or asks."""
    monkeypatch.setattr(ledgers, "_WAIT", (0.01, 0.01))
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 2)

    async def work() -> None:
        async with Relay(engine.server.port) as relay:
            url = engine.url(engine.database(), port=relay.port)
            relay.delay = hang_after_login
            opening = asyncio.create_task(PostgresqlLedger.open(url, now=time.time_ns))
            await asyncio.sleep(1)
            relay.delay = at_once
            ledger = await opening
            relay.delay = hang_after_login
            with pytest.raises(LedgerError):
                await ledger.one(1)
            asking = asyncio.create_task(ledger.one(1))
            await asyncio.sleep(0.5)
            await ledger.close()
            with pytest.raises((LedgerError, asyncio.CancelledError)):
                await asking

    asyncio.run(work())


def hang_after_login(passed: int) -> float:
    """Return the delay of an answer: what ends the login has more than 300 bytes."""
    return 0.0 if passed < 300 else 3600.0


def test_a_core_starts_while_somebody_reads_what_is_to_be_dropped(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dict(connection._SETTINGS) | {"lock_timeout": "'200ms'"}
    monkeypatch.setattr(connection, "_SETTINGS", tuple(settings.items()))
    database = engine.database()

    async def work() -> None:
        await (await PostgresqlLedger.open(engine.url(database), now=time.time_ns)).close()

    asyncio.run(work())
    with engine.server.connect(dbname=database) as client:
        client.execute(
            b"ALTER TABLE sessiongate.past_sessions DETACH PARTITION"
            b" sessiongate.past_sessions_first"
        )
        client.execute(b"ALTER TABLE sessiongate.past_sessions_first RENAME TO past_sessions_1")
        with client.transaction():
            client.execute(b"LOCK TABLE sessiongate.past_sessions_1 IN ACCESS SHARE MODE")
            asyncio.run(work())
        asyncio.run(work())
        found = client.execute(b"SELECT to_regclass('sessiongate.past_sessions_1')").fetchall()
    assert found == [(None,)]


def test_a_release_that_changes_the_tables_waits_for_a_backup(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT", "'50ms'")
    monkeypatch.setattr(ledgers, "_WAIT", (0.01, 0.01))
    database = engine.database()

    async def open_() -> None:
        await (await PostgresqlLedger.open(engine.url(database), now=time.time_ns)).close()

    async def open_during(backup: psycopg.Connection) -> None:
        opening = asyncio.create_task(open_())
        await asyncio.to_thread(eventually, lambda: "its tables are in use" in caplog.text)
        backup.rollback()
        await opening

    asyncio.run(open_())
    with engine.server.connect(dbname=database) as client:
        client.execute(b"ALTER TABLE sessiongate.cores DROP COLUMN clock_off")
        client.execute(b"UPDATE sessiongate.version SET number = 3")
        with engine.server.connect(dbname=database) as backup:
            backup.execute(b"BEGIN")
            backup.execute(b"LOCK TABLE sessiongate.cores IN ACCESS SHARE MODE")
            asyncio.run(open_during(backup))
        found = client.execute(b"SELECT number FROM sessiongate.version").fetchall()
    assert found == [(schema.TABLES_VERSION,)]
