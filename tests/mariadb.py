"""A private MariaDB, as real as they come, and the source that reads it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from asyncmy import errors
from asyncmy.connection import Connection

from sessiongate.core.sources.base import Observed, SourceConfig
from sessiongate.core.sources.mariadb import MariaDBSource, open_source
from tests.core.observing import seen
from tests.servers import (
    Certificates,
    Server,
    account,
    certificates,
    free_port,
    private_folder,
    require,
    write,
)
from tests.snippets import texts

PASSWORD = "open sesame"
# app is what clients are, nosy has no privilege, and plain may see everyone over a
# connection in the clear, which a relay can garble.
_ACCOUNTS = f"""\
ALTER USER root@localhost IDENTIFIED BY '{PASSWORD}';
CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}';
CREATE USER nosy@'%' IDENTIFIED BY '{PASSWORD}';
CREATE USER plain@'%' IDENTIFIED BY '{PASSWORD}';
GRANT PROCESS ON *.* TO plain@'%';
CREATE DATABASE shop;
GRANT ALL ON shop.* TO app@'%';
"""


def documented_lines() -> list[str]:
    """The SQL that the documentation says to run: what is needed, and what can be added.

    For clients from anywhere.
    """
    blocks = texts("docs/sources.md", "sql", "MariaDB and MySQL")
    return [block.replace("192.0.2.10", "%") for block in blocks]


class MariaDB:
    """A server on IPv4, IPv6 and a Unix socket, with TLS for who asks for it.

    Every account's password is `PASSWORD`; among them is sessiongate, as it is
    documented. `restart` gives it a new start, and its data stay.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.socket = folder / "mariadb.sock"
        self.certificates: Certificates = certificates(folder)
        self._binary = require("mariadbd", "mariadb-server")
        self._data = folder / "data"
        accounts = write(folder / "accounts.sql", _ACCOUNTS + documented_lines()[0])
        user = account()
        subprocess.run(
            [
                require("mariadb-install-db", "mariadb-server"),
                *("--no-defaults", f"--datadir={self._data}", "--skip-test-db"),
                *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            user=user,
            extra_groups=None if user is None else [],
        )
        self.server = self._start(f"--init-file={accounts}")

    def _start(self, *first: str) -> Server:
        options = {
            "datadir": self._data,
            "socket": self.socket,
            "tmpdir": self.folder,  # one that starts deletes the others' tables in it
            "port": self.port,
            "bind-address": "*",
            "ssl-ca": self.certificates.ca,
            "ssl-cert": self.certificates.cert,
            "ssl-key": self.certificates.key,
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-buffer-pool-size": "16M",
        }
        return Server(
            [
                self._binary,
                *("--no-defaults", "--skip-name-resolve", "--skip-log-bin"),
                *(f"--{name}={value}" for name, value in options.items()),
                "--performance-schema=ON",
                *first,
            ],
            ready="ready for connections",
        )

    def restart(self) -> None:
        """End it at once, and start it again."""
        self.server.kill()
        self.server = self._start()

    @asynccontextmanager
    async def client(
        self, user: str | bytes = "app", host: str = "127.0.0.1", **options: object
    ) -> AsyncIterator[Connection]:
        """A client's connection, to TCP or, where ``host`` is empty, to the Unix socket."""
        place = {"host": host, "port": self.port} if host else {"unix_socket": str(self.socket)}
        login = {"user": user, "password": PASSWORD, "autocommit": True}
        client = Connection(**{**login, **place, **options})
        await client.connect()
        try:
            yield client
        finally:
            client.close()

    def close(self) -> None:
        self.server.close()


@contextmanager
def mariadb() -> Iterator[MariaDB]:
    """A running MariaDB."""
    with private_folder() as folder:
        running = MariaDB(folder)
        try:
            yield running
        finally:
            running.close()


async def run(client: Connection, statement: str) -> list[tuple[object, ...]]:
    """What a client's statement selects."""
    cursor = client.cursor()
    await cursor.execute(statement)
    return list(await cursor.fetchall())


@asynccontextmanager
async def running(client: Connection, statement: bytes, other: Connection) -> AsyncIterator[None]:
    """Let a client's statement run meanwhile, as it stands; ``other`` ends it.

    It is seen by who looks soon, not necessarily at once.
    """
    task = asyncio.ensure_future(client.query(statement))
    try:
        yield
    finally:
        await run(other, f"KILL QUERY {client.thread_id()}")
        with suppress(errors.OperationalError):
            await task


async def end(client: Connection) -> tuple[str, int]:
    """The client's end of its connection."""
    _, transport = await client.connect()
    address: tuple[str, int] = transport.get_extra_info("sockname")[:2]
    return address


@asynccontextmanager
async def opened(
    server: MariaDB, user: str = "sessiongate", password: str = PASSWORD, **options: str
) -> AsyncIterator[MariaDBSource]:
    """A source named db, in TLS if it is the documented user's; ``port`` is where it connects."""
    port = options.pop("port", server.port)
    if user == "sessiongate":
        options = {"tls": "verify", "tls_ca": str(server.certificates.ca), **options}
    url = f"mariadb://{user}@{options.pop('host', '127.0.0.1')}:{port}"
    config = SourceConfig.parse(url, {"name": "db", "password": password, **options})
    source = open_source(config)
    try:
        yield source
    finally:
        await source.close()


async def only(source: MariaDBSource, *clients: Connection) -> list[Observed]:
    """The sessions of these clients, in the order of their ids, once no others are there."""
    idents = sorted(str(client.thread_id()) for client in clients)

    def complete(found: list[Observed]) -> bool:
        return sorted(item.session.native_id for item in found) == idents

    return await seen(source, complete)
