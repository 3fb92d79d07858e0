"""A MariaDB that sends column names endlessly."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from sessiongate.core.sources.base import SourceConfig, SourceError, open_source
from tests.faults.floods import mariadb, mariadb_columns
from tests.servers import PATIENCE


def test_columns_without_end_are_given_up() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await mariadb(mariadb_columns)(reader, writer)
        writer.transport.abort()

    async def test() -> str:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        source = open_source(SourceConfig.parse(f"mariadb://u@127.0.0.1:{port}"))
        with pytest.raises(SourceError) as caught:
            async with asyncio.timeout(PATIENCE):
                await source.observe()
        await source.close()
        server.close()
        return str(caught.value)

    assert asyncio.run(test()).endswith("the response has more than 100 columns")
