"""``mariadb://`` over a real MariaDB that stops, restarts, or is not what it seems."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from asyncmy.connection import Connection

from core.reconciler import INCARNATION_TOLERANCE
from core.sources.base import SourceConfig
from core.sources.mariadb import open_source
from core.sources.processlist import Dialect
from tests.core.observing import hanging, refusal
from tests.mariadb import PASSWORD, MariaDB, mariadb, only, opened, run
from tests.relay import Relay
from tests.servers import certificates


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with mariadb() as running:
        yield running


def test_the_certificate_is_verified(server: MariaDB, tmp_path: Path) -> None:
    stranger = str(certificates(tmp_path).ca)

    async def observe() -> None:
        async with opened(server) as source:
            await source.observe()
        async with opened(server, tls_ca=stranger) as source:
            assert "certificate verify failed" in await refusal(source.observe())
        async with opened(server, host="127.0.0.2") as source:  # not in the certificate
            assert "certificate verify failed" in await refusal(source.observe())
        async with opened(server, tls_ca=str(tmp_path / "none.pem")) as source:
            assert "none.pem: No such file" in await refusal(source.observe())

    asyncio.run(observe())


def test_the_start_stays_where_the_servers_clock_is_set(server: MariaDB) -> None:
    start = Dialect.of("10.11.19-MariaDB", performance_schema=False).start

    async def ask() -> list[object]:
        starts = []
        async with server.client() as client:
            for shift in ("DEFAULT", "UNIX_TIMESTAMP() + 86400", "UNIX_TIMESTAMP() - 86400"):
                await run(client, f"SET timestamp = {shift}")  # the clock, as this client sees it
                starts.append((await run(client, start))[0][0])
        return starts

    first, *others = asyncio.run(ask())
    assert others == [first, first]


def test_a_connection_that_the_server_ends_is_made_again_at_once(server: MariaDB) -> None:
    own = "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'sessiongate'"

    async def observe() -> None:
        async with server.client("root", host="") as root, opened(server) as source:
            await only(source, root)
            before = await source.observe()
            ((ident,),) = await run(root, own)
            await run(root, f"KILL {ident}")
            after = await source.observe()
        assert [item.key for item in before.sessions] == [item.key for item in after.sessions]
        assert before.incarnation == after.incarnation

    asyncio.run(observe())


def test_a_stopped_server_is_waited_for_and_is_no_restart(server: MariaDB) -> None:
    async def observe() -> None:
        async with server.client() as client, opened(server) as source:
            await only(source, client)
            before = await source.observe()
            server.server.suspend()
            try:
                await hanging(source)  # over the open connection
                await hanging(source)  # over a new one
            finally:
                server.server.resume()
            await only(source, client)
            assert await source.observe() is before

    asyncio.run(observe())


async def uptime(client: Connection) -> int:
    """Seconds, as the server counts them."""
    ((_, seconds),) = await run(client, "SHOW GLOBAL STATUS LIKE 'Uptime'")
    return int(str(seconds))


def test_after_a_restart_the_same_ids_are_of_another_run(server: MariaDB) -> None:
    async def observe() -> None:
        async with opened(server) as source, AsyncExitStack() as clients:
            async with server.client() as one, server.client() as another:
                await only(source, one, another)
                before = await source.observe()
                # A server that starts again sooner has the same start, as far as it says.
                while await uptime(one) <= INCARNATION_TOLERANCE:
                    pass
                server.server.kill()
            assert "127.0.0.1" in await refusal(source.observe())
            assert "Connect call failed" in await refusal(source.observe())
            server.restart()
            used = {item.key for item in before.sessions}
            again: list[Connection] = []
            while used - {str(client.thread_id()) for client in again}:
                again.append(await clients.enter_async_context(server.client()))
            await only(source, *again)
            after = await source.observe()
        assert used <= {item.key for item in after.sessions}
        assert before.incarnation is not None
        assert after.incarnation is not None
        assert after.incarnation - before.incarnation > INCARNATION_TOLERANCE
        assert not set(map(id, before.sessions)) & set(map(id, after.sessions))

    asyncio.run(observe())


def test_an_answer_that_is_cut_or_garbled_is_an_error(server: MariaDB) -> None:
    async def fail() -> None:
        async with (
            Relay(server.port) as relay,
            server.client() as client,
            opened(server, "plain", port=str(relay.port)) as source,
        ):
            place = f"127.0.0.1:{relay.port}: "
            await only(source, client)
            await source.close()
            for relay.cut_after in (1, 5, 60, 100, 150, 250, 400, 800):
                assert (await refusal(source.observe())).startswith(place)
            relay.cut_after = None
            for relay.garble in (0, 10, 90, 100, 110, 120, 150, 200, 300, 400, 500, 600):
                # Of a length that became larger the rest is waited for.
                with suppress(TimeoutError):
                    text = await asyncio.wait_for(refusal(source.observe()), 0.5)
                    assert text.startswith(place)
            relay.garble = None
            await only(source, client)

    asyncio.run(fail())


@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"dialog"])
def test_a_password_is_not_sent_in_the_clear(plugin: bytes) -> None:
    greeting = (
        b"\x0a10.11.0-MariaDB\0" + b"\1\0\0\0" + b"a" * 8 + b"\0" + b"\xff\xf7\x2d\2\0\xff\x81\x15"
        b"\0\0\0\0\0\0\0\0\0\0" + b"b" * 12 + b"\0mysql_native_password\0"
    )
    switch = b"\xfe" + plugin + b"\0" + b"\4Password: "
    received = bytearray()

    async def ask() -> str:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(len(greeting).to_bytes(3, "little") + b"\0" + greeting)
            received.extend(await reader.read(4096))
            writer.write(len(switch).to_bytes(3, "little") + b"\2" + switch)
            with suppress(ConnectionError):
                received.extend(await reader.read())
            writer.close()
            ended.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = f"mariadb://ann@127.0.0.1:{port}"
        source = open_source(SourceConfig.parse(url, {"password": PASSWORD}))
        text = await refusal(source.observe())
        await ended.wait()
        server.close()
        await server.wait_closed()
        return text

    text = asyncio.run(ask())
    assert text.endswith("the server asks for the password in the clear: that needs TLS")
    assert b"ann" in received
    assert PASSWORD.encode() not in received
