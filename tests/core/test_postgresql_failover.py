"""A ledger in PostgreSQL whose server is replaced by its standby."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.postgresql import pen
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.place import id_of
from sessiongate.v1.session_pb2 import Session
from tests.core.engines import Engine, running_engine, until_known
from tests.polling import eventually
from tests.postgres import AT_ONCE, PASSWORD, SUPERUSER, Postgres
from tests.relay import Relay
from tests.servers import Server, free_port, prepare, private_folder, require

NAME = "standby"


class Standby:
    """A copy of a server, which follows it until it is promoted."""

    def __init__(self, primary: Postgres, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._binary = Path(require("postgres", "postgresql")).resolve()
        place = f"host=127.0.0.1 port={primary.port} user={SUPERUSER} password='{PASSWORD}'"
        copy = (self._binary.parent / "pg_basebackup", "-D", folder / "data", "-R", "-c", "fast")
        prepare(*copy, "-d", f"{place} application_name={NAME}")
        self.start()

    def start(self) -> None:
        """Start it, also again after it was killed."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
            "fsync": "on",
            "max_connections": 60,
            "max_prepared_transactions": 2,
            "wal_level": "logical",
            "synchronous_standby_names": "",
        }
        self.server = Server(
            [
                self._binary,
                "-D",
                self._folder / "data",
                *(f"--{n}={v}" for n, v in settings.items()),
            ],
            ready="ready to accept read-only connections",
            stop=AT_ONCE,
        )

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(
            f"host=127.0.0.1 port={self.port} user={SUPERUSER} dbname=postgres sslmode=disable",
            password=PASSWORD,
            autocommit=True,
        )

    def promote(self) -> None:
        """Let it write; return once it does."""
        with self.connect() as client:
            client.execute("SELECT pg_promote()")


@contextmanager
def pair() -> Iterator[tuple[Engine, Standby]]:
    """Run a server and its standby."""
    with running_engine() as engine, private_folder() as folder:
        standby = Standby(engine.server, folder)
        try:
            yield engine, standby
        finally:
            standby.server.close()


async def opened(ledger: PostgresqlLedger, *keys: str) -> list[int]:
    now = time.time_ns()
    openings = [Opening(key, now, session=Session(service="x", user="u")) for key in keys]
    return await ledger.record("a", opened=openings, closed=[], incarnation=None)


async def held(ledger: PostgresqlLedger) -> dict[str, int]:
    return {key: id_of(place) for key, place in (await ledger.held())["a"].items()}


def test_a_core_goes_on_with_a_standby_that_has_everything(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pen, "_RETRY", (0.05, 0.1))

    async def work(engine: Engine, standby: Standby) -> None:
        database = engine.database()
        engine.server.execute(
            f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'", "SELECT pg_reload_conf()"
        )
        async with Relay(engine.server.port) as relay:
            url = engine.url(database, port=relay.port)
            ledger = await PostgresqlLedger.open(url, now=time.time_ns)
            one, two = await opened(ledger, "one", "two")
            await ledger.record("a", opened=[], closed=[Closing(one, 0)], incarnation=None)
            engine.server.server.kill()
            relay.redirect(standby.port)
            with pytest.raises(LedgerError):
                await opened(ledger, "three")
            await asyncio.to_thread(standby.promote)
            (three,) = await until_known(lambda: opened(ledger, "three"))
            assert await held(ledger) == {"two": two, "three": three}
            assert three > two
            assert await ledger.is_in_place(), "no core exits"
            past = await ledger.one(one)
            assert past is not None
            assert past.HasField("end_time")
            await ledger.close()

    with pair() as servers:
        asyncio.run(work(*servers))
    assert "asynchronously" not in caplog.text


@pytest.mark.long
def test_a_core_begins_anew_with_a_standby_that_has_lost_something(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pen, "_RETRY", (0.05, 0.1))

    async def work(engine: Engine, standby: Standby) -> None:
        async with Relay(engine.server.port) as relay:
            url = engine.url(engine.database(), port=relay.port)
            ledger = await PostgresqlLedger.open(url, now=time.time_ns)
            (one,) = await opened(ledger, "one")
            await asyncio.to_thread(caught_up, engine, standby)
            standby.server.kill()
            (two,) = await opened(ledger, "two")
            engine.server.server.kill()
            standby.start()
            await asyncio.to_thread(standby.promote)
            relay.redirect(standby.port)
            with pytest.raises(LedgerError, match="has lost some of the last writes"):
                await until_known(lambda: opened(ledger, "three"))
            assert not await ledger.is_in_place()
            await ledger.close()
            ledger = await PostgresqlLedger.open(url, now=time.time_ns)
            assert await held(ledger) == {"one": one}
            (again,) = await opened(ledger, "two")
            assert again not in {one, two}
            await ledger.close()

    def caught_up(engine: Engine, standby: Standby) -> None:
        def look() -> bool:
            with engine.server.connect() as client:
                ((behind,),) = client.execute(
                    "SELECT coalesce(max(pg_current_wal_lsn() - replay_lsn), 1)"
                    " FROM pg_stat_replication"
                ).fetchall()
                return bool(behind <= 0)

        eventually(look, bool)

    with caplog.at_level(logging.WARNING), pair() as servers:
        asyncio.run(work(*servers))
    assert "the ledger's server replicates asynchronously" in caplog.text
