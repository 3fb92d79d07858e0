"""A name service that hangs holds up only the source that asks it."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from sessiongate.core.sources.base import SourceConfig, SourceConnectError, open_source
from sessiongate.core.sources.support.resolution import addresses
from tests.servers import PATIENCE

URLS = [
    "postgresql://u@hangs.example",
    "pgbouncer://u@hangs.example",
    "mariadb://u@hangs.example",
    "haproxy://hangs.example:9",
]


def test_an_address_is_its_own() -> None:
    assert asyncio.run(addresses("one", "127.0.0.1")) == ["127.0.0.1"]
    assert asyncio.run(addresses("one", "::1")) == ["::1"]


@pytest.mark.parametrize("name", ["nowhere.invalid", "x" * 300, "a..b"])
def test_a_name_that_is_none_cannot_be_connected_to(name: str) -> None:
    with pytest.raises(SourceConnectError, match="the host name cannot be resolved"):
        asyncio.run(addresses("one", name))


@pytest.mark.parametrize("url", URLS)
def test_a_name_that_hangs_is_asked_for_once_by_its_source_and_by_others_beside_it(
    monkeypatch: pytest.MonkeyPatch, url: str
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
        source = open_source(SourceConfig.parse(url))
        first = asyncio.ensure_future(source.observe())
        await asyncio.to_thread(asked.wait, PATIENCE)
        first.cancel()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(SourceConnectError, match=r"^hangs.example:.*: the name service do"):
                await source.observe()
            assert await addresses("other", "127.0.0.1") == ["127.0.0.1"]
        other = asyncio.ensure_future(addresses("other", "hangs.example"))
        await asyncio.sleep(0)
        end.set()
        with pytest.raises(SourceConnectError, match="cannot be resolved"):
            await other
        await source.close()

    try:
        asyncio.run(test())
    finally:
        end.set()
