"""A PostgreSQL for a ledger, and what happens to such servers: killed, replaced, restored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.abc import Params
from psycopg.rows import TupleRow

from tests.closing import Closing
from tests.core.engines import ROLE
from tests.polling import eventually
from tests.postgres import (
    AT_ONCE,
    PASSWORD,
    STORED,
    SUPERUSER,
    make_postgres_data,
    postgres_program,
)
from tests.servers import PATIENCE, Server, free_port, prepare, private_folder

_STANDBY = "standby"
_DATABASE = "ledger"
_MAKE_SCHEMA = f"CREATE SCHEMA sessiongate AUTHORIZATION {ROLE}"


class Node:
    """A server with its data in a folder, until it is killed or closed."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port()
        self.server = self._start()

    def restart(self) -> None:
        """Kill it, and start it again at the same port."""
        self.server.kill()
        self.server = self._start()

    def execute(
        self, statement: str, parameters: Params = (), database: str = "postgres"
    ) -> list[TupleRow]:
        """Run a statement as the superuser; return its rows."""
        with psycopg.connect(f"{self.place} dbname={database}", autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    @property
    def place(self) -> str:
        """Where superusers connect."""
        return (
            f"host=127.0.0.1 port={self.port} user={SUPERUSER} password='{PASSWORD}'"
            f" sslmode=disable connect_timeout={PATIENCE:.0f}"
        )

    def remove(self) -> None:
        """Kill it, and forget what it has."""
        self.server.kill()
        shutil.rmtree(self.data)

    def _start(self) -> Server:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.data.parent,
            "fsync": "on",
            "max_connections": 100,
            "shared_buffers": "32MB",
        }
        return Server(
            [
                postgres_program("postgres"),
                "-D",
                self.data,
                *(f"--{n}={v}" for n, v in settings.items()),
            ],
            ready="ready to accept (read-only )?connections",
            stop=AT_ONCE,
        )


class LedgerEngine(Closing):
    """The server that has the ledger: one node at a time, which others replace."""

    def __init__(self, folder: Path) -> None:
        """Make a server and, in it, an empty ledger."""
        self._folder, self._numbers = folder, count(1)
        data = folder / "data0"
        make_postgres_data(data, PASSWORD)
        self.node = Node(data)
        for statement in (
            f"CREATE ROLE {ROLE} LOGIN PASSWORD '{STORED}'",
            f"CREATE DATABASE {_DATABASE}",
            f"REVOKE CONNECT ON DATABASE {_DATABASE} FROM PUBLIC",
            f"GRANT CONNECT ON DATABASE {_DATABASE} TO {ROLE}",
        ):
            self.node.execute(statement)
        self.execute(_MAKE_SCHEMA)

    def url(self, port: int) -> str:
        """Return the ledger's URL for those who come over a port."""
        return f"postgresql://{ROLE}:{quote(PASSWORD)}@127.0.0.1:{port}/{_DATABASE}"

    def execute(self, statement: str, parameters: Params = ()) -> list[TupleRow]:
        """Run a statement in the ledger's database as the superuser; return its rows."""
        return self.node.execute(statement, parameters, _DATABASE)

    def drop_schema(self) -> None:
        """Drop all that the ledger has, as soon as nobody is in the way."""
        while True:
            with suppress(psycopg.errors.DeadlockDetected):
                self.execute("DROP SCHEMA sessiongate CASCADE")
                return

    def make_schema(self) -> None:
        """Make the ledger's place again, as an operator would."""
        self.execute(_MAKE_SCHEMA)

    def snapshot(self) -> Path:
        """Return a folder with a copy of what the server has."""
        return self._copy()

    def restore(self, data: Path) -> None:
        """Replace the server by one that has what a snapshot has."""
        self._replace(Node(data))

    def standby(self, *, is_in_sync: bool) -> Node:
        """Start a server that follows this one; its writes wait for it if it is in sync."""
        standby = Node(self._copy("-R"))
        if is_in_sync:
            self._wait_for_standbys(_STANDBY)
        state = "sync" if is_in_sync else "async"
        look = "SELECT count(*) FROM pg_stat_replication WHERE (state, sync_state) = (%s, %s)"
        eventually(lambda: self.execute(look, ("streaming", state))[0][0])
        return standby

    def promote(self, standby: Node) -> None:
        """Kill the server, and let its standby write in its place."""
        self.node.server.kill()
        if standby.server.process.poll() is not None:
            standby.restart()
        standby.execute("SELECT pg_promote()")
        self._replace(standby)
        self._wait_for_standbys("")

    def close(self) -> None:
        """End the server."""
        self.node.server.close()

    def _copy(self, *options: str) -> Path:
        data = self._folder / f"data{next(self._numbers)}"
        place = f"{self.node.place} application_name={_STANDBY}"
        prepare(postgres_program("pg_basebackup"), "-D", data, "-c", "fast", *options, "-d", place)
        return data

    def _replace(self, node: Node) -> None:
        former, self.node = self.node, node
        former.remove()

    def _wait_for_standbys(self, names: str) -> None:
        self.node.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.node.execute("SELECT pg_reload_conf()")


@contextmanager
def ledger_engine() -> Iterator[LedgerEngine]:
    """Run a server with an empty ledger until the block ends."""
    with private_folder() as folder, LedgerEngine(folder) as engine:
        yield engine
