"""Rows of servers are read in steps, between which other tasks run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from zoneinfo import ZoneInfo

import pytest

from sessiongate.core.sources.base import Observation
from sessiongate.core.sources.support import pacing, pgbouncer_clients, pgbouncer_console
from sessiongate.core.sources.support.libpq import QueryResult
from sessiongate.core.sources.support.localtime import LocalTime
from sessiongate.core.sources.support.postgresql_backends import Backends, Reached
from sessiongate.core.sources.support.processlist import ProcessList
from sessiongate.core.sources.support.threads import Threads

ROWS = 5000


async def of_postgresql() -> Observation:
    none = (None,) * 14
    rows = [(b"%d" % pid, b"%d" % pid, *none, b"{%d}" % (ROWS - pid)) for pid in range(1, ROWS + 1)]
    return await Backends("db", Reached(0.0, None, None, 1024)).read(rows)


async def of_pgbouncer() -> Observation:
    columns = ("database", "connect_time", "ptr")
    lines = [(b"shop", b"2026-01-01 00:00:00 UTC", b"%d" % ptr) for ptr in range(ROWS)]
    rows = await pgbouncer_console.rows(QueryResult(columns, lines))
    clients = pgbouncer_clients.Clients(LocalTime(ZoneInfo("UTC")))
    return await clients.read(pgbouncer_console.Shown(rows, rows, {}, {}, None))


async def of_mariadb() -> Observation:
    rest = (b"app", b"192.0.2.1:1", b"shop", b"Sleep", None, None, b"1", b"1")
    threads = await Threads.of([(b"%d" % ident, *rest) for ident in range(ROWS, 0, -1)])
    processes = ProcessList("db", 0.0)
    assert await processes.unknown_clients(threads) == [*range(1, ROWS + 1)]
    return await processes.read(threads, 1e9)


@pytest.mark.parametrize("read", [of_postgresql, of_pgbouncer, of_mariadb])
def test_others_go_on_while_rows_are_read(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], Awaitable[Observation]]
) -> None:
    monkeypatch.setattr(pacing, "STEP", 0.0)  # each part of the work is a step

    async def test() -> int:
        turns_had = 0

        async def other() -> None:
            nonlocal turns_had
            while True:
                await asyncio.sleep(0)
                turns_had += 1

        beside = asyncio.create_task(other())
        assert len((await read()).sessions) == ROWS
        beside.cancel()
        return turns_had

    assert asyncio.run(test()) >= ROWS // pacing._PART
