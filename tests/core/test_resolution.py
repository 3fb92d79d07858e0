"""A name service that hangs holds up only what asks for that name."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from core.sources.base import SourceConfig, SourceConnectError, open_source
from core.sources.resolution import addresses
from tests.servers import PATIENCE

URLS = [
    "postgresql://u@hangs.example",
    "pgbouncer://u@hangs.example",
    "mariadb://u@hangs.example",
    "haproxy://hangs.example:9",
    "maxscale+http://u@hangs.example",
]


def test_an_address_is_its_own() -> None:
    assert asyncio.run(addresses("127.0.0.1")) == ["127.0.0.1"]
    assert asyncio.run(addresses("::1")) == ["::1"]


@pytest.mark.parametrize("name", ["nowhere.invalid", "x" * 300, "a..b"])
def test_a_name_that_is_none_cannot_be_connected_to(name: str) -> None:
    with pytest.raises(SourceConnectError, match="no address is known for this name"):
        asyncio.run(addresses(name))


@pytest.mark.parametrize("url", URLS)
def test_every_kind_asks_for_addresses_in_this_way(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: end.wait(PATIENCE) or [])

    async def test() -> None:
        first = asyncio.ensure_future(addresses("hangs.example"))
        await asyncio.sleep(0)
        source = open_source(SourceConfig.parse(url))
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(SourceConnectError, match=r"^hangs.example:.*: no answer of the na"):
                await source.observe()
        await source.close()
        first.cancel()

    try:
        asyncio.run(test())
    finally:
        end.set()


def test_a_name_that_hangs_is_asked_for_once_and_others_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, end = threading.Event(), threading.Event()
    find = socket.getaddrinfo

    def hang(host: str, *rest: object, **more: object) -> object:
        if host == "hangs.example":
            asked.set()
            end.wait(PATIENCE)
            raise socket.gaierror
        return find(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def test() -> None:
        first = asyncio.ensure_future(addresses("hangs.example"))
        await asyncio.to_thread(asked.wait, PATIENCE)
        with pytest.raises(SourceConnectError, match="no answer of the name service"):
            await addresses("hangs.example")
        assert await addresses("127.0.0.1") == ["127.0.0.1"]
        first.cancel()

    try:
        asyncio.run(test())
    finally:
        end.set()
