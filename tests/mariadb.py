"""A private, real MariaDB, and the source that reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from asyncmy import errors
from asyncmy.connection import Connection

from sessiongate.core.sources.base import Observed, SourceConfig
from sessiongate.core.sources.mariadb import MariaDBSource, open_source
from tests.core.observing import seen
from tests.server_data import make_data
from tests.servers import (
    Certificates,
    Server,
    certificates,
    free_port,
    private_folder,
    require,
    write,
)
from tests.snippets import texts

PASSWORD = "open sesame"
# The zone of its operating system, in which InnoDB states times; its clients' zone is another.
_ZONE = "KTM-5:45"
# Clients log in as app, nosy has no privilege, and plain may see everyone over an
# unencrypted connection, which a relay can garble.
_ACCOUNTS = f"""\
CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}';
CREATE USER nosy@'%' IDENTIFIED BY '{PASSWORD}';
CREATE USER plain@'%' IDENTIFIED BY '{PASSWORD}';
GRANT PROCESS ON *.* TO plain@'%';
CREATE DATABASE shop;
GRANT ALL ON shop.* TO app@'%';
"""


def documented_lines() -> list[str]:
    """Return the SQL that the documentation says to run: what is needed, and what can be added.

    It admits clients from anywhere.
    """
    blocks = texts("docs/sources.md", "sql", "MariaDB and MySQL")
    return [block.replace("192.0.2.10", "%") for block in blocks]


class MariaDB:
    """A server at ``address``, by default every one, and a Unix socket, with optional TLS.

    Every account's password is ``password``; among them are sessiongate, as it is
    documented, and those that the statements of ``accounts`` create, one a line. `restart` gives
    it a new start time and keeps its data.
    """

    def __init__(
        self,
        folder: Path,
        accounts: str = _ACCOUNTS,
        password: str = PASSWORD,
        address: str = "*",
    ) -> None:
        self.folder = folder
        self._address = address
        self.port = free_port()
        self.socket = folder / "mariadb.sock"
        self.certificates: Certificates = certificates(folder)
        self._binary = require("mariadbd", "mariadb-server")
        self._data = folder / "data"
        root = f"ALTER USER root@localhost IDENTIFIED BY '{PASSWORD}';\n"
        statements = root + documented_lines()[0] + accounts
        first = write(folder / "accounts.sql", statements.replace(PASSWORD, password))
        make_data(
            self._data,
            *(require("mariadb-install-db", "mariadb-server"), "--no-defaults"),
            *("--datadir={data}", "--skip-test-db"),
            *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
        )
        self.server = self._start(f"--init-file={first}")

    def _start(self, *first: str) -> Server:
        options = {
            "datadir": self._data,
            "socket": self.socket,
            "tmpdir": self.folder,  # a server that starts deletes the others' tables in it
            "port": self.port,
            "bind-address": self._address,
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
                *("--performance-schema=ON", "--default-time-zone=+03:00"),
                *first,
            ],
            ready="ready for connections",
            environment={"TZ": _ZONE},
        )

    def restart(self) -> None:
        """End it at once, and start it again."""
        self.server.kill()
        self.server = self._start()

    @asynccontextmanager
    async def client(
        self, user: str | bytes = "app", host: str = "127.0.0.1", **options: object
    ) -> AsyncIterator[Connection]:
        """Connect a client, to TCP or, if ``host`` is empty, to the Unix socket."""
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
def mariadb(**options: str) -> Iterator[MariaDB]:
    """Run a MariaDB; ``options`` are its own."""
    with private_folder() as folder:
        running = MariaDB(folder, **options)
        try:
            yield running
        finally:
            running.close()


async def run(client: Connection, statement: str) -> list[tuple[object, ...]]:
    """Run a client's statement; return the rows."""
    cursor = client.cursor()
    await cursor.execute(statement)
    return list(await cursor.fetchall())


@asynccontextmanager
async def running(client: Connection, statement: bytes, other: Connection) -> AsyncIterator[None]:
    """Run a client's statement meanwhile, unchanged; ``other`` ends it.

    It soon becomes visible, not necessarily at once.
    """
    task = asyncio.ensure_future(client.query(statement))
    try:
        yield
    finally:
        await run(other, f"KILL QUERY {client.thread_id()}")
        with suppress(errors.OperationalError):
            await task


async def end(client: Connection) -> tuple[str, int]:
    """Return the client's end of its connection."""
    _, transport = await client.connect()
    address: tuple[str, int] = transport.get_extra_info("sockname")[:2]
    return address


@asynccontextmanager
async def opened(
    server: MariaDB, user: str = "sessiongate", password: str = PASSWORD, **options: str
) -> AsyncIterator[MariaDBSource]:
    """Open a source named db, over TLS for the documented user; ``port`` is where it connects."""
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
    """Return the sessions of these clients, ordered by id, once no others are there."""
    idents = sorted(str(client.thread_id()) for client in clients)

    def complete(found: list[Observed]) -> bool:
        return sorted(item.session.native_id for item in found) == idents

    return await seen(source, complete)
