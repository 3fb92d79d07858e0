"""A source's own connections are left out of what its server lists."""

from __future__ import annotations

import asyncio

import pytest

from sessiongate.core.sources.support import own_connections
from sessiongate.core.sources.support.own_connections import OwnConnections
from sessiongate.runtime.elapsed import elapsed
from tests.servers import PATIENCE

HOUR = 3600.0


def test_a_connection_whose_log_in_hangs_delays_no_later_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own_connections, "_MOST_WAIT", HOUR)
    own = OwnConnections()

    async def read() -> list[int]:
        async with asyncio.timeout(PATIENCE):
            return [*await own.left_out([1, 2, 3], lambda row: row, elapsed())]

    async def test() -> None:
        with own.opening() as hanging, own.opening() as known:
            known.know(2)
            hanging.opened -= HOUR
            assert await read() == [1, 3]
            with own.opening() as opened:
                reading = asyncio.create_task(read())
                await asyncio.sleep(0)
                assert not reading.done()
                opened.know(3)
                assert await reading == [1]

    asyncio.run(test())


def test_a_connection_that_was_closed_is_left_out_until_it_is_no_longer_listed() -> None:
    own = OwnConnections()

    async def read(*rows: int) -> list[int]:
        return [*await own.left_out(rows, lambda row: row, elapsed())]

    async def test() -> None:
        requested = elapsed()
        with own.opening() as connection:
            connection.know(1)
        assert [*await own.left_out([1], lambda row: row, requested)] == []
        assert await read(1, 2) == [2]
        assert await read(2) == [2]
        assert await read(1) == [1], "the number is of another one"

    asyncio.run(test())


def test_a_connection_that_no_longer_reads_is_left_out_until_it_is_no_longer_listed() -> None:
    own = OwnConnections()

    async def read(*rows: int) -> list[int]:
        return [*await own.left_out(rows, lambda row: row, elapsed())]

    async def test() -> None:
        own.reads(1)
        assert await read(1, 2) == [2]
        own.reads(3)
        own.reads(3)
        assert await read(1, 2, 3) == [2]
        assert await read(1, 2) == [2]
        assert await read(2) == [2]
        assert await read(1, 3) == [1], "the number is of another one"

    asyncio.run(test())


def test_connections_to_a_server_that_never_answers_are_not_all_remembered() -> None:
    own = OwnConnections()
    for ident in range(2 * own_connections._MOST):
        own.reads(ident)
    assert len(own._connections) == own_connections._MOST
    assert [*asyncio.run(own.left_out([0, ident], lambda row: row, elapsed()))] == [0]
