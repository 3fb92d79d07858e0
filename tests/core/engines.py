"""A PostgreSQL server for ledgers, each in a database of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.postgresql import partitions
from tests import few_partitions
from tests.postgres import PASSWORD, STORED, Postgres, running_postgres

ROLE = "sessiongate"


class Engine:
    """A server, and the databases that were made in it."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self._numbers = count(1)
        server.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{STORED}'")

    def database(self) -> str:
        """Make a database as the documentation says; return its name."""
        name = f"ledger{next(self._numbers)}"
        self.server.execute(
            f"CREATE DATABASE {name}",
            f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
            f"GRANT CONNECT ON DATABASE {name} TO {ROLE}",
        )
        with self.server.connect(dbname=name) as connection:
            connection.execute(f"CREATE SCHEMA sessiongate AUTHORIZATION {ROLE}".encode())
        return name

    def url(self, database: str, *, port: int = 0, user: str = ROLE) -> str:
        """Return the URL of the ledger in a database."""
        place = f"127.0.0.1:{port or self.server.port}"
        return f"postgresql://{user}:{quote(PASSWORD)}@{place}/{database}"


@contextmanager
def running_engine(**changes: object) -> Iterator[Engine]:
    """Run a server until the block ends; ``changes`` are of its settings.

    Meanwhile, the ledgers that this process opens make few partitions.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "AHEAD", few_partitions.AHEAD)
        with running_postgres(PASSWORD, **{"fsync": "on", **changes}) as server:
            yield Engine(server)


async def until_known(write: Callable[[], Any]) -> Any:
    """Write until the server is there: return the result, or raise what it says."""
    while True:
        try:
            return await write()
        except LedgerError as error:
            if not re.search("cannot be reached|connection", str(error)):
                raise
            await asyncio.sleep(0.05)
