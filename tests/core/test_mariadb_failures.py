"""``mariadb://`` over a real MariaDB that stops, restarts, or is not what it seems."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from unittest.mock import ANY
from urllib.parse import quote

import psutil
import pytest
from asyncmy import errors
from asyncmy.connection import Connection

from sessiongate.core.collect.incarnation import INCARNATION_TOLERANCE
from sessiongate.core.sources.base import SourceConfig, SourceConnectError, SourceError
from sessiongate.core.sources.mariadb import MariaDBSource, open_source
from sessiongate.core.sources.support.mysql_dialect import Dialect
from tests.core.observing import hanging, refusal, until_same
from tests.mariadb import PASSWORD, MariaDB, mariadb, only, opened, run
from tests.relay import Relay
from tests.servers import PATIENCE, certificates, free_port

# A server's first packet: it also offers TLS.
_GREETING = (
    b"\x0a10.11.0-MariaDB\0" + b"\1\0\0\0" + b"a" * 8 + b"\0" + b"\xff\xf7\x2d\2\0\xff\x81\x15"
    b"\0\0\0\0\0\0\0\0\0\0" + b"b" * 12 + b"\0mysql_native_password\0"
)


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
            assert "none.pem: no such file" in await refusal(source.observe())

    asyncio.run(observe())


def test_the_start_stays_where_the_servers_clock_is_set(server: MariaDB) -> None:
    start = Dialect.of("10.11.19-MariaDB", performance_schema=False).start

    async def ask() -> list[int]:
        starts = []
        async with server.client() as client:
            for shift in (
                *("DEFAULT", "UNIX_TIMESTAMP() + 86400", "UNIX_TIMESTAMP() - 86400"),
                *("1", "2147483647"),  # the years 1970 and 2038
            ):
                await run(client, f"SET timestamp = {shift}")  # the clock, for this client
                starts.append(int(str((await run(client, start))[0][0])))
        return starts

    first, *others = asyncio.run(ask())
    assert first > 0
    assert others == [first] * 4


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
            before = await until_same(source)
            server.server.suspend()
            try:
                await hanging(source)  # over the open connection
                await hanging(source)  # over a new one
            finally:
                server.server.resume()
            await only(source, client)
            after = await until_same(source)
            assert [item.key for item in after.sessions] == [item.key for item in before.sessions]
            assert after.incarnation == before.incarnation

    asyncio.run(observe())


async def uptime(client: Connection) -> int:
    """Return the server's uptime, in its seconds."""
    ((_, seconds),) = await run(client, "SHOW GLOBAL STATUS LIKE 'Uptime'")
    return int(str(seconds))


def test_after_a_restart_the_same_ids_are_of_another_run(server: MariaDB) -> None:
    async def observe() -> None:
        async with opened(server) as source, AsyncExitStack() as clients:
            async with server.client() as one, server.client() as another:
                await only(source, one, another)
                before = await source.observe()
                # A server that restarts sooner appears to have the same start.
                while await uptime(one) <= INCARNATION_TOLERANCE:
                    pass
                server.server.kill()
            assert "127.0.0.1" in await refusal(source.observe())
            assert "Connection refused" in await refusal(source.observe())
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


async def failure(source: MariaDBSource) -> tuple[type[SourceError], str]:
    """Return the type of error that an observation ends with, and its text."""
    with pytest.raises(SourceError) as caught:
        await source.observe()
    return type(caught.value), str(caught.value)


def test_a_server_that_is_not_there_could_not_be_connected_to(tmp_path: Path) -> None:
    free = free_port()

    async def observe() -> None:
        for place in (f"127.0.0.1:{free}", f"[::1]:{free}", quote(str(tmp_path / "no"), safe="")):
            source = open_source(SourceConfig.parse(f"mariadb://ann@{place}"))
            kind, text = await failure(source)
            assert kind is SourceConnectError
            assert text.endswith(("Connection refused: nothing listens there", "no such socket"))

    asyncio.run(observe())


def test_a_name_that_is_not_known_could_not_be_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def observe() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)  # no network is asked
        source = open_source(SourceConfig.parse("mariadb://ann@db.example?tls=off"))
        kind, text = await failure(source)
        assert kind is SourceConnectError
        assert text == "db.example:3306: the host name cannot be resolved"

    asyncio.run(observe())


def test_a_server_that_refuses_was_connected_to(server: MariaDB, tmp_path: Path) -> None:
    stranger = str(certificates(tmp_path).ca)

    async def observe() -> None:
        async with opened(server, password="treasure") as source:
            assert await failure(source) == (SourceError, ANY)
        async with opened(server, "ann%3Atreasure") as source:
            _, text = await failure(source)
            assert text.startswith(f"127.0.0.1:{server.port}: Access denied for …")
            assert "treasure" not in text
        async with opened(server, tls_ca=stranger) as source:
            kind, text = await failure(source)
            assert (kind, "certificate verify failed" in text) == (SourceError, True)
        async with (
            server.client("root", host="") as root,
            opened(server) as watcher,
            AsyncExitStack() as clients,
        ):
            await only(watcher, root)  # otherwise clients that are leaving would make room
            await run(root, "SET GLOBAL max_connections = 10")
            with suppress(errors.OperationalError):
                for _ in range(10):
                    await clients.enter_async_context(server.client())
            async with opened(server) as source:
                kind, text = await failure(source)
            await run(root, "SET GLOBAL max_connections = DEFAULT")
        assert (kind, "Too many connections" in text) == (SourceError, True)

    asyncio.run(observe())


@pytest.mark.parametrize("greets", [False, True])
def test_a_connection_that_breaks_at_once_was_one(greets: bool) -> None:
    """As with a server that starts or stops; also while TLS begins."""

    async def observe() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if greets:
                writer.write(len(_GREETING).to_bytes(3, "little") + b"\0" + _GREETING)
                await reader.readexactly(36 + 1)  # the request for TLS, and TLS has begun
                on, seconds = 1, 0  # so that closing resets
                linger = struct.pack("ii", on, seconds)
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
            writer.close()

        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        tls = "verify" if greets else "off"
        source = open_source(SourceConfig.parse(f"mariadb://ann@127.0.0.1:{port}?tls={tls}"))
        assert (await failure(source))[0] is SourceError
        listener.close()
        await listener.wait_closed()

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
                # If a length became larger, the reader waits for the rest.
                with suppress(TimeoutError):
                    text = await asyncio.wait_for(refusal(source.observe()), 0.5)
                    assert text.startswith(place)
            relay.garble = None
            await only(source, client)

    asyncio.run(fail())


def test_a_login_that_is_refused_leaves_no_connection(tmp_path: Path) -> None:
    pair = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    refused = b"\xff" + (1045).to_bytes(2, "little") + b"#28000Access denied"
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        plain.sendall(len(_GREETING).to_bytes(3, "little") + b"\0" + _GREETING)
        plain.recv(36, socket.MSG_WAITALL)  # the request for TLS
        with context.wrap_socket(plain, server_side=True) as private:
            private.recv(4096)
            private.sendall(len(refused).to_bytes(3, "little") + b"\3" + refused)
            done.wait(PATIENCE)  # it hangs, and does not even read that TLS ends

    async def ask(port: int) -> None:
        url = f"mariadb://ann@127.0.0.1:{port}?tls=verify&tls_ca={pair.ca}"
        text = await refusal(open_source(SourceConfig.parse(url)).observe())
        assert text.endswith("Access denied (1045)")
        await asyncio.sleep(0)  # transports close their sockets when the loop goes on
        ends = [item.raddr for item in psutil.Process().net_connections("tcp") if item.raddr]
        assert port not in [end.port for end in ends]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        try:
            asyncio.run(ask(listener.getsockname()[1]))
        finally:
            done.set()
            server.join()


@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"dialog"])
def test_a_password_is_not_sent_in_the_clear(plugin: bytes) -> None:
    switch = b"\xfe" + plugin + b"\0" + b"\4Password: "
    received = bytearray()

    async def ask() -> str:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(len(_GREETING).to_bytes(3, "little") + b"\0" + _GREETING)
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
    assert text.endswith("the server requests the password in cleartext, which requires TLS")
    assert b"ann" in received
    assert PASSWORD.encode() not in received
