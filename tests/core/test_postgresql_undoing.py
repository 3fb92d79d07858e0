"""A ledger in PostgreSQL takes back what it has written in part, or perhaps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import psycopg
import pytest

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.postgresql import rows
from sessiongate.core.ledger.postgresql import script as scripts
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.postgresql.pen import Pen
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.rows import steps_of
from sessiongate.core.ledger.postgresql.script import Copy, texts_of
from sessiongate.core.ledger.rows import Changes
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
        connection.script("DELETE FROM numbers WHERE number = ANY('{2}'::int[])")
    kept = connection.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    assert kept == []
    connection.close()


def scans_of_open_sessions(connection: LedgerConnection) -> tuple[int, int]:
    """Return how often this connection has read all rows lately, and how many it has deleted."""
    ((scans, deleted),) = connection.execute(
        "SELECT seq_scan, n_tup_del FROM pg_stat_xact_user_tables WHERE relname = 'open_sessions'"
    )
    return scans, deleted


def test_open_sessions_are_closed_by_their_ids_whatever_else_is_open(engine: Engine) -> None:
    database = engine.database()
    pen = Pen(LedgerPlace.parse(engine.url(database)), time.time_ns)
    with pen.writing() as connection:
        connection.execute(
            "INSERT INTO open_sessions (id, source, key, connect_time)"
            " SELECT n, 'a', n, 0 FROM generate_series(1, 1000) AS n"
        )
    pen.connection.execute("ANALYZE open_sessions")
    closed = [Closing(ident, 0) for ident in range(1, 501)]
    changes = Changes("a", [], closed, None, {}, None)
    (step,) = steps_of(changes, [], now=NOW, last_end=NOW, least=None, known=(None, None))
    with pen.writing() as connection:
        before, _ = scans_of_open_sessions(connection)
        step.write(connection)
        after, deleted = scans_of_open_sessions(connection)
    assert (after - before, deleted) == (0, 500)
    pen.close()


def test_a_script_that_fails_anywhere_leaves_the_connection_of_use(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = LedgerConnection(LedgerPlace.parse(engine.url(engine.database())), "test")
    connection.execute("CREATE TEMPORARY TABLE numbers (number int PRIMARY KEY)")
    copy, done = "COPY numbers FROM STDIN", list[str]()

    def failing(*parts: bytes) -> Iterator[bytes]:
        yield from parts
        raise ZeroDivisionError

    def noted(*parts: bytes) -> Iterator[bytes]:
        for part in parts:
            done.append(part.decode())
            yield part

    one, slow = "INSERT INTO numbers VALUES (1)", "SELECT pg_sleep(0.05)"
    cases: list[tuple[type[Exception], list[str | Copy]]] = [
        (ZeroDivisionError, [Copy(copy, failing())]),
        (ZeroDivisionError, [one, Copy(copy, failing(b"2\n"))]),
        (ZeroDivisionError, [slow, Copy(copy, [b"1\n"]), slow, Copy(copy, failing(b"2\n")), one]),
        (psycopg.errors.UniqueViolation, [Copy(copy, [b"1\n", b"1\n"]), slow]),
        (psycopg.errors.UniqueViolation, [one, Copy(copy, [b"1\n"]), Copy(copy, noted(b"2\n"))]),
        (psycopg.errors.InvalidTextRepresentation, [Copy(copy, repeat(b"one\n", 10_000)), one]),
        (psycopg.errors.DivisionByZero, [one, "SELECT 1 / 0", Copy(copy, noted(b"2\n"))]),
        (psycopg.errors.SyntaxError, ["SELECT", "SELECT FROM FROM"]),
    ]
    for error, script in cases:
        with pytest.raises(error), connection.transaction():
            connection.script(*script)
        assert connection.execute("SELECT number FROM numbers").fetchall() == []
    monkeypatch.setattr(scripts, "_SENT", 1000)
    many = [b"".join(b"%d\n" % n for n in range(start, 100_000, 4)) for start in range(4)]
    results = connection.script(slow, Copy(copy, many), "SELECT max(number) FROM numbers", slow)
    assert texts_of(results[2]) == [["99999"]]
    assert [result.command_tuples for result in results] == [1, 100_000, 1, 1]
    done.clear()
    connection.script("DELETE FROM numbers", Copy(copy, noted()), Copy(copy, noted(b"1\n", b"2\n")))
    assert done == ["1\n", "2\n"], "each part is made once"
    assert connection.execute("SELECT number FROM numbers").fetchall() == [(1,), (2,)]
    assert connection.script() == []
    with pytest.raises(psycopg.OperationalError, match="rows of a COPY"):
        connection.script("COPY numbers TO STDOUT")
    assert connection.is_lost
    connection.close()


def test_a_script_whose_server_ends_tells_that_the_connection_is_lost(engine: Engine) -> None:
    connection = LedgerConnection(LedgerPlace.parse(engine.url(engine.database())), "test")
    connection.execute("CREATE TEMPORARY TABLE numbers (number int PRIMARY KEY)")

    def ending() -> Iterator[bytes]:
        yield b"1\n"
        with engine.server.connect() as client:
            client.execute("SELECT pg_terminate_backend(%s, 20000)", (connection.backend.pid,))
        yield b"2\n"

    with pytest.raises(psycopg.OperationalError):
        connection.script(Copy("COPY numbers FROM STDIN", ending()), "SELECT 1")
    assert connection.is_lost
    connection.close()
