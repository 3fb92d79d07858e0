"""A private PostgreSQL and a private PgBouncer, both real."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.server_data import make_data
from tests.servers import (
    PATIENCE,
    Server,
    certificates,
    free_port,
    private_folder,
    require,
    write,
)

SUPERUSER, PASSWORD = "postgres", "open sesame"
STATEMENT_SIZE = 32768  # bytes that the server keeps of a statement, minus one
# Ends a server at once: it would still write what it has changed, which is thrown away with it.
AT_ONCE = signal.SIGQUIT
_PAUSE = 0.01  # seconds from one look at its processes to the next
_CLIENT = re.compile(r"\[local\]|\(\d+\)")
_HBA = """\
local all all scram-sha-256
hostnossl all intls all reject
host all all all scram-sha-256
host replication all all scram-sha-256
"""


def stored(password: str) -> str:
    """Return what a server that is given this in place of a password stores of it, and takes it.

    A server would hash it 4096 times, and each client as often when it connects: 4 ms of CPU.
    """
    salt = b"tests"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    client, server = (hmac.digest(salted, key, "sha256") for key in (b"Client Key", b"Server Key"))
    parts = (salt, hashlib.sha256(client).digest(), server)
    salt_text, client_text, server_text = (base64.b64encode(part).decode() for part in parts)
    return f"SCRAM-SHA-256$1:{salt_text}${client_text}:{server_text}"


STORED = stored(PASSWORD)


class Clients:
    """Clients' connections, which can be closed whatever they are doing."""

    def __init__(self) -> None:
        self._connections: list[psycopg.Connection] = []

    def add(self, connection: psycopg.Connection) -> psycopg.Connection:
        """Add a connection; return it."""
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Close them all."""
        while self._connections:
            self._connections.pop().close()


def is_alive(client: psycopg.Connection) -> bool:
    """Return whether a connection can still be used."""
    try:
        client.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def make_postgres_data(data: Path, password: str) -> None:
    """Make a server's data, in a folder that does not exist yet; the superuser has a password."""
    make_data(
        data,
        *(postgres_program("initdb"), "-D", "{data}", "-U", SUPERUSER),
        *("--auth=scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"),
        "--pwfile={secret}",
        secret=stored(password),
    )


def postgres_program(name: str) -> Path:
    """Return the path of one of PostgreSQL's programs."""
    return Path(require("postgres", "postgresql")).resolve().parent / name


class Postgres:
    """A server on IPv4, IPv6 and a Unix socket, with optional TLS.

    The superuser's password is ``password``. `restart` gives it a new start time and
    keeps its data.
    """

    def __init__(self, folder: Path, password: str = PASSWORD, **changes: object) -> None:
        """Run in a folder; ``changes`` are of the server's settings."""
        self.folder = folder
        self._changes = changes
        self.database = SUPERUSER  # for those who come through a `PgBouncer`
        self._password = password
        self.port = free_port()
        # Not for ::1, so that one name does not match it.
        self.certificates = certificates(folder, "localhost", "127.0.0.1")
        self._data = folder / "data"
        make_postgres_data(self._data, password)
        write(self._data / "pg_hba.conf", _HBA)
        self.server = self._start()

    def _start(self) -> Server:
        settings: dict[str, object] = {
            "listen_addresses": "127.0.0.1,::1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "ssl": "on",
            "ssl_cert_file": self.certificates.cert,
            "ssl_key_file": self.certificates.key,
            "fsync": "off",
            "max_connections": 60,
            "max_prepared_transactions": 2,
            "track_activity_query_size": STATEMENT_SIZE,
            "wal_level": "logical",
            **self._changes,
        }
        return Server(
            [
                postgres_program("postgres"),
                "-D",
                self._data,
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            ready="database system is ready to accept connections",
            stop=AT_ONCE,
        )

    def restart(self) -> None:
        """Kill it, and start it again on the same port."""
        self.server.kill()
        self.server = self._start()

    def parameters(self, **changes: Any) -> dict[str, Any]:
        """Return a client's connection parameters; ``changes`` replace some of them."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": SUPERUSER,
            "password": self._password,
            "dbname": "postgres",
            "sslmode": "disable",
            "connect_timeout": round(PATIENCE),
            **changes,
        }

    def connect(self, **changes: Any) -> psycopg.Connection:
        """Connect a client, without a transaction."""
        return psycopg.connect(autocommit=True, **self.parameters(**changes))

    def execute(self, *statements: str) -> None:
        """Run statements as the superuser."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def wait_until_left(self) -> None:
        """Wait until it has no client: it needs a moment to notice that one has left."""
        deadline = time.monotonic() + PATIENCE
        while self._serves():
            assert time.monotonic() < deadline, "a client has not left"
            time.sleep(_PAUSE)

    def _serves(self) -> bool:
        """Return whether it has a process for some client: its title says where that came from."""
        for child in psutil.Process(self.server.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if _CLIENT.search(" ".join(child.cmdline())):
                    return True
        return False


@contextmanager
def running_postgres(password: str = PASSWORD, **changes: object) -> Iterator[Postgres]:
    """Run a server until the block ends; ``changes`` are of its settings."""
    with private_folder() as folder:
        postgres = Postgres(folder, password, **changes)
        try:
            yield postgres
        finally:
            postgres.server.close()


class PgBouncer:
    """A PgBouncer in front of a `Postgres`; users are the server's, which have `stored` passwords.

    Database ``shop`` is the server's `Postgres.database` over IPv4, ``shop6`` over IPv6,
    ``shopunix`` through its Unix socket and ``shoptls`` over TLS. There is one server
    connection per database and user.
    """

    def __init__(
        self,
        folder: Path,
        postgres: Postgres,
        users: Mapping[str, str],
        environment: Mapping[str, str],
        program: Sequence[str] = (),
        **settings: object,
    ) -> None:
        self.folder = folder
        self._program = program or [require("pgbouncer", "pgbouncer")]
        stated = settings.get("listen_port")
        self.port = stated if isinstance(stated, int) else free_port()
        self.certificates = certificates(folder)
        self._environment = environment
        lines = [f'"{user}" "{stored(password)}"' for user, password in users.items()]
        passwords = write(folder / "users.txt", "\n".join(lines) + "\n")
        databases = {
            "shop": "127.0.0.1",
            "shop6": "::1",
            "shopunix": postgres.folder,
            "shoptls": "localhost",
        }
        values: dict[str, object] = {
            "listen_addr": "127.0.0.1,::1",
            "listen_port": self.port,
            "unix_socket_dir": folder,
            "auth_type": "scram-sha-256",
            "auth_file": passwords,
            "admin_users": SUPERUSER,
            "pool_mode": "transaction",
            "default_pool_size": 1,
            "client_tls_sslmode": "allow",
            "client_tls_cert_file": self.certificates.cert,
            "client_tls_key_file": self.certificates.key,
            "server_tls_sslmode": "disable",
            **settings,
        }
        self._ini = write(
            folder / "pgbouncer.ini",
            "\n".join(
                [
                    "[databases]",
                    *(
                        f"{name} = host={host} port={postgres.port} dbname={postgres.database}"
                        for name, host in databases.items()
                    ),
                    "[pgbouncer]",
                    *(f"{name} = {value}" for name, value in values.items()),
                    "",
                ]
            ),
        )
        self.server = self._start()

    def _start(self) -> Server:
        return Server(
            [*self._program, self._ini],
            ready="process up: ",
            environment=self._environment,
        )

    def restart(self) -> None:
        """Kill it, and start it again on the same port."""
        self.server.kill()
        self.server = self._start()

    def connect(self, **changes: Any) -> psycopg.Connection:
        """Connect a client, without a transaction."""
        parameters = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": SUPERUSER,
            "password": PASSWORD,
            "dbname": "shop",
            "sslmode": "disable",
            "connect_timeout": round(PATIENCE),
            **changes,
        }
        return psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)


@contextmanager
def running_pgbouncer(
    postgres: Postgres,
    users: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = (),
    **settings: object,
) -> Iterator[PgBouncer]:
    """Run a PgBouncer until the block ends; ``settings`` are of its ini file.

    ``program`` is the command that runs it, by default Debian's.
    """
    with private_folder() as folder:
        pgbouncer = PgBouncer(folder, postgres, users, environment or {}, program, **settings)
        try:
            yield pgbouncer
        finally:
            pgbouncer.server.close()
