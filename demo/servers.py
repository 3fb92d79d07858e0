"""The servers of the demonstration, and Sessiongate over all of them.

How each is started is the tests' (`tests/servers.py`); what is here is what it holds.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.clients import READY, clients
from tests import mariadb, postgres
from tests.haproxy import configured_haproxy
from tests.servers import (
    Server,
    ServerError,
    account,
    can_install,
    find,
    free_port,
    install,
    private_folder,
    write,
)
from tests.snippets import texts

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LOOPBACK = "127.0.0.1"
# The programs that are needed, by Debian's package.
PROGRAMS = {
    "postgresql": "postgres",
    "pgbouncer": "pgbouncer",
    "mariadb-server": "mariadbd",
    "haproxy": "haproxy",
}
_SHOP = """\
CREATE TABLE orders (id integer PRIMARY KEY, paid boolean NOT NULL);
INSERT INTO orders VALUES (4711, false);
GRANT ALL ON orders TO PUBLIC;
"""
_STOCK = """\
CREATE DATABASE stock;
CREATE TABLE stock.articles (id INT PRIMARY KEY, stored INT NOT NULL);
INSERT INTO stock.articles VALUES (17, 250);
"""
_HAPROXY = """\
global
    stats socket {folder}/sessiongate.sock mode 600 level operator
    maxconn 200
    hard-stop-after 1s
defaults
    mode tcp
    timeout connect 10s
    timeout client 24h
    timeout server 24h
frontend stock
    bind 127.0.0.1:{port}
    default_backend stock-servers
backend stock-servers
    server db1 127.0.0.1:{server}
"""

_LONGEST = 60  # a socket's path has at most 107 characters, and HAProxy lengthens it
_PLAIN = re.compile(rf"[A-Za-z0-9._/-]{{1,{_LONGEST}}}")  # what PgBouncer's settings can name

Step = Callable[[str], None]


def check_temporary_folder() -> None:
    """Raise `ServerError` if the servers cannot work in folders below the temporary one."""
    folder = Path(tempfile.gettempdir())
    os.environ["TMPDIR"] = str(folder)  # for the servers, too, if what is set does not exist
    trouble = ""
    if not _PLAIN.fullmatch(str(folder)):
        trouble = f"must be at most {_LONGEST} letters, digits and ._/- for the servers' sockets"
    elif user := account():
        closed = [each for each in (folder, *folder.parents) if not each.stat().st_mode & 0o001]
        if closed:
            trouble = f"must be open to the user {user}, whom the servers run as"
    if trouble:
        raise ServerError(
            f"The temporary folder {trouble}, got {str(folder)!r}. Choose another:\n"
            "    TMPDIR=/tmp make demo"
        )


def install_programs(step: Step) -> None:
    """Install what is missing, or raise `ServerError` with the command that does."""
    missing = [package for package, program in PROGRAMS.items() if not find(program)]
    if missing and not can_install():
        raise ServerError(
            f"The demonstration needs Debian's packages {', '.join(missing)}. Install them:\n"
            f"    sudo apt-get install --no-install-recommends {' '.join(missing)}\n"
            "Then type make demo again."
        )
    for package in missing:
        step(f"Installing {package}")
        install(package)


@dataclass(frozen=True, slots=True)
class Databases:
    """The servers whose sessions are shown, and how Sessiongate reads them."""

    servers: Mapping[str, Server]  # by name
    shop: postgres.Postgres
    ports: Mapping[str, int]  # by kind
    sources: Mapping[str, Mapping[str, object]]  # settings, by kind
    password: str  # of every user
    folder: Path

    def connect_clients(self) -> Server:
        """Start the clients; return their program once all have connected."""
        told = json.dumps({"ports": self.ports, "password": self.password})
        return Server(
            [sys.executable, "-m", "demo.clients", write(self.folder / "clients.json", told)],
            ready=READY,
            environment={"PYTHONPATH": str(ROOT)},
            as_root=True,
        )

    def sessiongate(
        self,
        name: str,
        settings: Mapping[str, object],
        kinds: Iterable[str],
        *command: str,
        **options: object,
    ) -> Server:
        """Start a command of Sessiongate over sources of these kinds, with some settings.

        ``options`` are of each source.
        """
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        for kind in kinds:
            lines += ["[[source]]", f'name = "{kind}"']
            stated = {**self.sources[kind], **options}
            lines += [f"{key} = {json.dumps(value)}" for key, value in stated.items()]
        file = write(self.folder / f"{name}.toml", "\n".join([*lines, ""]))
        return Server(
            [BIN / "sessiongate", *command, "--config", file],
            ready="Try +curl|^listening on",
            as_root=True,
        )


@contextmanager
def running(http: str, grpc: str, step: Step) -> Iterator[dict[str, Server]]:
    """Run all servers, Sessiongate and the clients until the block ends; yield them by name."""
    with databases(step) as found, ExitStack() as stack:
        step("Starting Sessiongate over all four")
        settings = {"http": http, "grpc": grpc, "ledger": "sqlite://"}
        gate = stack.enter_context(
            found.sessiongate("sessiongate", settings, found.sources, "serve")
        )
        step(f"Connecting {len(clients())} clients")
        playing = stack.enter_context(found.connect_clients())
        yield {**found.servers, "The program of the clients": playing, "Sessiongate": gate}


@contextmanager
def databases(step: Step, **changes: object) -> Iterator[Databases]:
    """Run the servers until the block ends; ``changes`` are of PostgreSQL's settings."""
    password = secrets.token_urlsafe()
    users = {client.user: password for client in clients() if client.server != "haproxy"}
    with ExitStack() as stack:
        step("Starting PostgreSQL")
        shop = stack.enter_context(postgres.running_postgres(password, **changes))
        _fill(shop, users, password)
        step("Starting PgBouncer in front of it")
        pool = stack.enter_context(
            postgres.running_pgbouncer(
                shop,
                {**users, "sessiongate": password},
                listen_addr=LOOPBACK,
                stats_users="sessiongate",
                admin_users="nobody",
                default_pool_size=5,
                query_wait_timeout=0,
            )
        )
        step("Starting MariaDB")
        stock = stack.enter_context(
            mariadb.mariadb(accounts=_accounts(), password=password, address=LOOPBACK)
        )
        step("Starting HAProxy in front of it")
        folder = stack.enter_context(private_folder())
        ports = {"postgresql": shop.port, "pgbouncer": pool.port, "haproxy": free_port()}
        text = _HAPROXY.format(folder=folder, port=ports["haproxy"], server=stock.port)
        proxy = stack.enter_context(configured_haproxy(write(folder / "haproxy.cfg", text)))
        yield Databases(
            {
                "PostgreSQL": shop.server,
                "PgBouncer": pool.server,
                "MariaDB": stock.server,
                "HAProxy": proxy,
            },
            shop,
            ports,
            {
                "pgbouncer": {
                    "url": f"pgbouncer://sessiongate@{LOOPBACK}:{pool.port}",
                    "password": password,
                },
                "postgresql": {
                    "url": f"postgresql://sessiongate@{LOOPBACK}:{shop.port}",
                    "password": password,
                },
                "haproxy": {"url": f"haproxy:{folder}/sessiongate.sock", "links": True},
                "mariadb": {
                    "url": f"mariadb://sessiongate@{LOOPBACK}:{stock.port}",
                    "password": password,
                    "tls": "verify",
                    "tls_ca": str(stock.certificates.ca),
                },
            },
            password,
            folder,
        )


def _fill(server: postgres.Postgres, users: dict[str, str], password: str) -> None:
    """Create the database, the users, and sessiongate's role as it is documented."""
    (documented,) = texts("docs/sources.md", "sql", "PostgreSQL")
    stored = postgres.stored(password)  # as PgBouncer knows it, too: else it cannot log in with it
    server.execute(
        *documented.replace(postgres.PASSWORD, password).splitlines(),
        *(f"CREATE ROLE {user} LOGIN PASSWORD '{stored}'" for user in users),
        "CREATE DATABASE shop",
    )
    server.database = "shop"
    with server.connect(dbname=server.database) as connection:
        connection.execute(_SHOP.encode())


def _accounts() -> str:
    """Return the statements that make MariaDB's data and the clients' accounts, one a line."""
    users = {client.user for client in clients() if client.server == "haproxy"}
    return (
        _STOCK
        + mariadb.documented_lines()[1]
        + "".join(
            f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{mariadb.PASSWORD}';\n"
            f"GRANT ALL ON stock.* TO {user}@'127.0.0.1';\n"
            for user in sorted(users)
        )
    )
