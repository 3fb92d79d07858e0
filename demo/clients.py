"""The clients of the demonstration: ``python -m demo.clients FILE``, which ``demo`` starts.

FILE has the servers' ports and the password of every user, as JSON. Each client is a real
connection; one that fails, or whose server is gone, connects again. `READY` is printed once
all have connected.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncmy.connection
import asyncmy.errors
import psycopg

from demo.hosts import Relay

READY = "all clients are connected"
_FAILURES = (OSError, psycopg.Error, asyncmy.errors.MySQLError)
_PAUSE = 1.0  # seconds until a client that lost its connection connects again
_HOURS = 8 * 3600  # in seconds: longer than anyone looks


@dataclass(frozen=True, slots=True)
class Login:
    """A client's name for itself, and the port that it connects through."""

    port: int
    user: str
    password: str
    application: str


class Connection(Protocol):
    """A connection to a server of either kind, in autocommit mode."""

    async def run(self, statement: str) -> None:
        """Run a statement."""

    async def sleep(self, seconds: float) -> None:
        """Run a statement that takes this long."""

    async def close(self) -> None:
        """Hang up."""


class _Postgres:
    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self._connection = connection
        self.close = connection.close

    @classmethod
    async def open(cls, login: Login) -> _Postgres:
        connection = await psycopg.AsyncConnection.connect(
            host="127.0.0.1",
            port=login.port,
            user=login.user,
            password=login.password,
            dbname="shop",
            application_name=login.application,
            autocommit=True,
            prepare_threshold=None,  # PgBouncer gives each transaction another connection
        )
        return cls(connection)

    async def run(self, statement: str) -> None:
        await self._connection.execute(statement.encode())

    async def sleep(self, seconds: float) -> None:
        await self.run(f"SELECT pg_sleep({seconds})")


class _MariaDB:
    def __init__(self, connection: asyncmy.connection.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, login: Login) -> _MariaDB:
        connection = asyncmy.connection.Connection(
            host="127.0.0.1",
            port=login.port,
            user=login.user,
            password=login.password,
            db="stock",
            program_name=login.application,
            autocommit=True,
        )
        await connection.connect()
        await connection.query(f"SET innodb_lock_wait_timeout = {_HOURS}")
        return cls(connection)

    async def run(self, statement: str) -> None:
        await self._connection.query(statement)

    async def sleep(self, seconds: float) -> None:
        await self.run(f"DO SLEEP({seconds})")

    async def close(self) -> None:
        self._connection.close()


class Row:
    """A row that one client changes in a transaction that it leaves open, and others wait for."""

    def __init__(self, change: str) -> None:
        self.change = change
        self.locked = asyncio.Event()


# What a client does while it is connected; an event is set when its connection is lost.
Doing = Callable[[Connection, asyncio.Event], Awaitable[None]]


async def idle(connection: Connection, lost: asyncio.Event) -> None:
    """Ask once, and then nothing more."""
    await connection.run("SELECT 1")
    await lost.wait()


async def work(connection: Connection, _lost: asyncio.Event) -> None:
    """Run one short transaction after another."""
    while True:
        await connection.run("BEGIN")
        await connection.sleep(random.uniform(0.5, 2.5))
        await connection.run("COMMIT")
        await asyncio.sleep(random.uniform(1, 6))


async def come_and_go(connection: Connection, _lost: asyncio.Event) -> None:
    """Ask, and hang up."""
    await connection.sleep(2.5)


async def export(connection: Connection, _lost: asyncio.Event) -> None:
    """Read for hours in one transaction."""
    await connection.run("BEGIN")
    await connection.sleep(_HOURS)


def keep(row: Row) -> Doing:
    """Change a row, and leave the transaction open."""

    async def doing(connection: Connection, lost: asyncio.Event) -> None:
        try:
            await connection.run("BEGIN")
            await connection.run(row.change)
            row.locked.set()
            await lost.wait()
        finally:
            row.locked.clear()

    return doing


def want(row: Row) -> Doing:
    """Change a row that another client keeps: wait for it."""

    async def doing(connection: Connection, _lost: asyncio.Event) -> None:
        while True:
            await row.locked.wait()
            await connection.run(row.change)

    return doing


@dataclass(frozen=True, slots=True)
class Client:
    """A client: where it connects from, through which server, and what it does there."""

    user: str
    application: str
    host: str
    server: str
    does: Doing


def clients() -> list[Client]:
    """Return all clients, in the order in which they appear."""
    order = Row("UPDATE orders SET paid = true WHERE id = 4711")
    article = Row("UPDATE articles SET stored = stored - 1 WHERE id = 17")
    return [
        Client("billing", "invoicing", "127.0.0.21", "pgbouncer", keep(order)),
        Client("reports", "nightly-export", "127.0.0.31", "pgbouncer", export),
        Client("webshop", "checkout", "127.0.0.11", "pgbouncer", want(order)),
        Client("webshop", "storefront", "127.0.0.11", "pgbouncer", work),
        Client("webshop", "storefront", "127.0.0.12", "pgbouncer", work),
        Client("webshop", "storefront", "127.0.0.12", "pgbouncer", idle),
        Client("billing", "reminders", "127.0.0.21", "pgbouncer", idle),
        Client("support", "psql", "127.0.0.41", "postgresql", idle),
        Client("purchasing", "restock", "127.0.0.51", "haproxy", keep(article)),
        Client("warehouse", "picking", "127.0.0.52", "haproxy", want(article)),
        Client("warehouse", "scanner", "127.0.0.53", "haproxy", work),
        Client("warehouse", "scanner", "127.0.0.54", "haproxy", idle),
        Client("reports", "stocktaking", "127.0.0.31", "haproxy", come_and_go),
    ]


@asynccontextmanager
async def _connected(server: str, login: Login) -> AsyncIterator[Connection]:
    kind = _MariaDB if server in ("haproxy", "mariadb") else _Postgres
    connection: Connection = await kind.open(login)
    try:
        yield connection
    finally:
        await connection.close()


async def _live(client: Client, port: int, password: str, connected: asyncio.Event) -> None:
    """Connect, again and again, and do what the client does."""
    relay = Relay(client.host, port)
    await relay.listen()
    login = Login(relay.port, client.user, password, client.application)
    while True:
        try:
            async with _connected(client.server, login) as connection:
                connected.set()
                await client.does(connection, relay.lost)
        except _FAILURES as error:
            print(f"{client.user} ({client.application}): {error}", flush=True)
        await asyncio.sleep(_PAUSE)


async def _main(ports: Mapping[str, int], password: str) -> None:
    appearing = [(client, asyncio.Event()) for client in clients()]
    async with asyncio.TaskGroup() as group:
        for client, connected in appearing:
            group.create_task(_live(client, ports[client.server], password, connected))
        for _, connected in appearing:
            await connected.wait()
        print(READY, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
