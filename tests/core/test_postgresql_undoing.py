"""A ledger in PostgreSQL takes back what it has written in part, or perhaps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.postgresql import rows
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.place import id_of
from sessiongate.v1.session_pb2 import Session
from tests.core.engines import Engine

NOW = time.time_ns()


@contextmanager
def commits_in_doubt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commit, and lose the connection before the server says so."""
    execute = LedgerConnection.execute

    def lose(connection: LedgerConnection, statement: str, *values: object) -> psycopg.Cursor:
        found = execute(connection, statement, *values)
        if statement == "COMMIT":
            connection.raw.close()
            raise psycopg.OperationalError("the connection is lost")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(LedgerConnection, "execute", lose)
        yield


async def open_(url: str) -> PostgresqlLedger:
    return await PostgresqlLedger.open(url, now=time.time_ns)


async def record(ledger: PostgresqlLedger, **changes: Any) -> list[int]:
    return await ledger.record(
        "a", **{"opened": [], "closed": [], "incarnation": None, "observed": NOW, **changes}
    )


def opening(*keys: str) -> list[Opening]:
    return [Opening(key, NOW, session=Session(service="x", user=key)) for key in keys]


async def held(ledger: PostgresqlLedger) -> dict[str, int]:
    return {key: id_of(place) for key, place in (await ledger.held())["a"].items()}


def test_new_keys_are_taken_back_in_any_constellation(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sessions exchange their keys; another one gets the key of one that ends."""

    async def work() -> None:
        ledger = await open_(engine.url(engine.database()))
        one, two, three, four = await record(ledger, opened=opening("1", "2", "3", "4"))
        before = await held(ledger)
        changes: dict[str, Any] = {
            "closed": [Closing(three, NOW)],
            "rekeyed": {"1": two, "2": one, "3": four},
            "opened": opening("4"),
        }
        with commits_in_doubt(monkeypatch), pytest.raises(LedgerError):
            await record(ledger, **changes)
        assert await held(ledger) == before
        (five,) = await record(ledger, **changes)
        assert await held(ledger) == {"1": two, "2": one, "3": four, "4": five}
        await ledger.close()

    asyncio.run(work())


def test_a_core_that_stops_gives_no_id_back_that_is_in_the_ledger(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An observation failed after its first step, which could not be undone either."""
    monkeypatch.setattr(rows, "ROWS", 2)

    async def work() -> None:
        url = engine.url(engine.database())
        ledger = await open_(url)
        with monkeypatch.context() as patch:
            patch.setattr(rows.WriteStep, "undo", fail)
            lines = rows.WriteStep.write
            patch.setattr(
                rows.WriteStep,
                "write",
                lambda step, connection: (fail if step.is_last else lines)(step, connection),
            )
            with pytest.raises(LedgerError, match="division by zero"):
                await record(ledger, opened=opening("1", "2", "3"))
            await ledger.close()
        ledger = await open_(url)
        written = {*(await held(ledger)).values()}
        assert not written & {*await record(ledger, opened=opening("4", "5", "6"))}
        await ledger.close()

    asyncio.run(work())


def fail(_step: rows.WriteStep, connection: LedgerConnection) -> int:
    connection.execute("SELECT 1 / 0")
    return 0


def test_a_core_that_stops_takes_back_what_is_in_doubt(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        url = engine.url(engine.database())
        ledger = await open_(url)
        (one,) = await record(ledger, opened=opening("1"))
        with commits_in_doubt(monkeypatch), pytest.raises(LedgerError):
            await record(ledger, opened=opening("2"), closed=[Closing(one, NOW)])
        await ledger.close()
        ledger = await open_(url)
        assert await held(ledger) == {"1": one}
        await ledger.close()

    asyncio.run(work())


def test_tables_that_are_restored_under_a_core_are_noticed(engine: Engine) -> None:
    """Its connection lives on, and so does its claim; the last ids that it gave are gone."""
    tables = "counters", "shards", "open_sessions"

    async def work() -> None:
        database = engine.database()
        ledger = await open_(engine.url(database))
        await record(ledger, opened=opening("1"))
        with engine.server.connect(dbname=database) as client:
            for name in tables:
                client.execute(f"CREATE TABLE public.{name} AS TABLE sessiongate.{name}".encode())
            await record(ledger, opened=opening("2"))
            for name in tables:
                client.execute(f"DELETE FROM sessiongate.{name}".encode())
                client.execute(f"INSERT INTO sessiongate.{name} TABLE public.{name}".encode())
        with pytest.raises(LedgerError, match="is not as this core left it"):
            await record(ledger, opened=opening("3"))
        with pytest.raises(LedgerError, match="has lost some of the last writes"):
            await record(ledger, opened=opening("3"))
        assert not await ledger.is_in_place(), "the core starts anew"
        await ledger.close()

    asyncio.run(work())


def test_the_server_keeps_no_plan_of_what_is_written(engine: Engine) -> None:
    connection = LedgerConnection(LedgerPlace.parse(engine.url(engine.database())), "test")
    connection.execute("CREATE TEMPORARY TABLE numbers (number int PRIMARY KEY)")
    delete = "DELETE FROM numbers WHERE number = ANY(%s::int[])"
    for _ in range(10):  # psycopg and the server keep something of what is asked five times
        connection.execute(delete, "{1}")
        with connection.running(delete, "{2}"):
            pass
    kept = connection.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    assert kept == []
    connection.close()


def test_what_fails_beside_a_statement_leaves_the_connection_of_use(engine: Engine) -> None:
    connection = LedgerConnection(LedgerPlace.parse(engine.url(engine.database())), "test")
    connection.execute("CREATE TEMPORARY TABLE numbers (number int PRIMARY KEY)")
    copy, done = "COPY numbers FROM STDIN", list[str]()

    def fail() -> None:
        raise ZeroDivisionError

    def parts() -> Iterator[bytes]:
        yield b"1\n"
        fail()

    def run(statement: str, work: Callable[[], object]) -> None:
        with connection.running(statement):
            work()

    failures: list[tuple[type[Exception], Callable[[], object]]] = [
        (ZeroDivisionError, lambda: connection.copy(copy, parts())),
        (ZeroDivisionError, lambda: connection.copy(copy, [b"1\n"], fail)),
        (
            psycopg.errors.UniqueViolation,
            lambda: connection.copy(copy, [b"1\n", b"1\n"], lambda: done.append("copy")),
        ),
        (ZeroDivisionError, lambda: run("INSERT INTO numbers VALUES (1)", fail)),
        (psycopg.errors.DivisionByZero, lambda: run("SELECT 1 / 0", lambda: done.append("run"))),
    ]
    for error, work in failures:
        with pytest.raises(error), connection.transaction():
            work()
        assert connection.execute("SELECT number FROM numbers").fetchall() == []
    assert done == ["copy", "run"]
    connection.copy(copy, [b"1\n", b"2\n"], lambda: done.append("copied"))
    assert connection.execute("SELECT count(*) FROM numbers").fetchall() == [(2,)]
    assert done[2:] == ["copied"]
    connection.close()
