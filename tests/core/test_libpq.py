"""Servers that speak PostgreSQL's protocol and cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sessiongate.core.sources.base import (
    Source,
    SourceConfig,
    SourceConnectError,
    SourceError,
    open_source,
)
from tests.postgres import (
    PASSWORD,
    STORED,
    SUPERUSER,
    Postgres,
    running_pgbouncer,
    running_postgres,
)
from tests.servers import free_port


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        server.execute(f"CREATE ROLE app LOGIN PASSWORD '{STORED}' CONNECTION LIMIT 0")
        yield server


def failure(url: str) -> SourceError:
    async def observe(source: Source) -> SourceError:
        with pytest.raises(SourceError) as caught:
            await source.observe()
        await source.close()
        return caught.value

    return asyncio.run(observe(open_source(SourceConfig.parse(url))))


@pytest.mark.parametrize("kind", ["postgresql", "pgbouncer"])
def test_a_place_where_nothing_listens_cannot_be_connected_to(kind: str, tmp_path: Path) -> None:
    for place, said in (
        (f"127.0.0.1:{free_port()}", "Connection refused"),
        (quote(str(tmp_path), safe=""), "no such socket"),
        ("nowhere.invalid", "the host name cannot be resolved"),
    ):
        error = failure(f"{kind}://ann:treasure@{place}")
        assert isinstance(error, SourceConnectError), error
        assert said in str(error)
        assert "treasure" not in str(error)


def test_a_server_that_refuses_is_connected_to(server: Postgres) -> None:
    with running_pgbouncer(server, {"app": PASSWORD}) as pool:
        for url, said in (
            (f"postgresql://app:wrong@127.0.0.1:{server.port}", "password authentication failed"),
            (f"postgresql://app:{quote(PASSWORD)}@127.0.0.1:{server.port}", "too many connections"),
            (
                f"postgresql://{SUPERUSER}:{quote(PASSWORD)}@127.0.0.1:{server.port}/shop",
                'database "shop" does not exist',
            ),
            (f"postgresql://app:x@localhost:{server.port}?tls=verify", "certificate verify failed"),
            (f"pgbouncer://app:{quote(PASSWORD)}@127.0.0.1:{pool.port}", "not allowed"),
            (f"pgbouncer://app:x@{quote(str(pool.folder), safe='')}:{pool.port}", "not allowed"),
        ):
            error = failure(url)
            assert said in str(error)
            assert not isinstance(error, SourceConnectError), error
