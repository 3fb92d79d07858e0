"""A worker's connections: accepted, refused and ended; TLS as clients see it."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from sessiongate.gateway.limits import Limits
from sessiongate.gateway.server import acceptor
from sessiongate.gateway.server.worker import Worker
from sessiongate.runtime.tls import ServerTls
from tests.certificates import Authority
from tests.gateway.programs import LONG
from tests.gateway.test_http1 import error_in, get

Test = Callable[[int, asyncio.Event], Awaitable[None]]


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["scheme"].encode()})


def run(
    test: Test,
    tls: ServerTls | None = None,
    limits: Limits | None = None,
    app: ASGIApp = answer,
) -> None:
    """Run a worker; the test is given its port, and the event that stops it."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
            listener.setblocking(False)
            stopping = asyncio.Event()
            worker = Worker(app, listener, limits or Limits(), tls)
            serving = asyncio.create_task(worker.serve(stopping))
            async with asyncio.timeout(LONG):
                await test(listener.getsockname()[1], stopping)
            stopping.set()
            await serving

    uvloop.run(main())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls(authority: Authority) -> ServerTls:
    pair = authority.issue("server")
    return ServerTls(pair.cert, pair.key)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """Yield a function that returns the logged lines."""
    with caplog.at_level(logging.INFO):
        yield lambda: [record.getMessage() for record in caplog.records]


def context_of(authority: Authority, **changed: object) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.cert)
    for name, value in changed.items():
        setattr(context, name, value)
    return context


async def ask(port: int, context: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost" if context else None
    )
    try:
        writer.write(get(b"/"))
        return await reader.read()
    finally:
        writer.transport.abort()


def old(authority: Authority) -> ssl.SSLContext:
    context = context_of(authority)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_version_that_is_too_old_is_refused_by_an_alert_and_one_line(
    authority: Authority, tls: ServerTls, lines: Callable[[], list[str]]
) -> None:
    async def test(port: int, stopping: asyncio.Event) -> None:
        for _ in range(3):
            with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
                await ask(port, old(authority))
        assert (await ask(port, context_of(authority))).endswith(b"https")

    run(test, tls)
    assert lines() == ["refused a connection: the client supports no TLS 1.2 or later"]


@pytest.mark.parametrize(
    ("version", "alert"),
    [
        (ssl.TLSVersion.TLSv1_2, "ALERT_HANDSHAKE_FAILURE"),
        (ssl.TLSVersion.TLSv1_3, "ALERT_CERTIFICATE_REQUIRED"),
    ],
)
def test_who_shows_no_certificate_is_refused_by_an_alert_and_one_line(
    authority: Authority,
    tls: ServerTls,
    lines: Callable[[], list[str]],
    version: ssl.TLSVersion,
    alert: str,
) -> None:
    async def test(port: int, stopping: asyncio.Event) -> None:
        for _ in range(3):
            with pytest.raises(ssl.SSLError, match=alert):
                await ask(port, context_of(authority, maximum_version=version))

    run(test, ServerTls(tls.cert, tls.key, authority.cert))
    assert lines() == ["refused a connection: the client sent no certificate"]


def test_a_certificate_of_another_ca_is_refused_by_an_alert_and_one_line(
    authority: Authority, tls: ServerTls, lines: Callable[[], list[str]], tmp_path: Path
) -> None:
    foreign = Authority(tmp_path, "other").issue("foreign")
    context = context_of(authority)
    context.load_cert_chain(foreign.cert, foreign.key)

    async def test(port: int, stopping: asyncio.Event) -> None:
        with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):
            await ask(port, context)

    run(test, ServerTls(tls.cert, tls.key, authority.cert))
    [line] = lines()
    assert line.startswith("refused a connection: the client's certificate is not accepted: unable")


def test_a_client_that_does_not_trust_the_server_is_one_line(
    tls: ServerTls, lines: Callable[[], list[str]]
) -> None:
    def connect(port: int) -> None:
        # Not uvloop's client: it would leave without giving the server a reason.
        plain = socket.create_connection(("127.0.0.1", port), LONG)
        with plain, pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")

    async def test(port: int, stopping: asyncio.Event) -> None:
        await asyncio.to_thread(connect, port)

    run(test, tls)
    assert lines() == ["refused a connection: the client rejected it: unknown ca"]


def test_http_without_tls_is_told_to_use_tls(
    tls: ServerTls, lines: Callable[[], list[str]]
) -> None:
    async def test(port: int, stopping: asyncio.Event) -> None:
        for _ in range(3):
            status, error = error_in(await ask(port, None))
            assert (status, error["code"]) == (400, "TLS_REQUIRED")
            assert "https://" in error["detail"]

    run(test, tls)
    assert lines() == ["refused a connection: the client sent HTTP without TLS"]


def test_what_is_neither_is_closed(tls: ServerTls, lines: Callable[[], list[str]]) -> None:
    async def test(port: int, stopping: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\0garbage" * 3)
        while await reader.read(100):
            pass
        writer.close()

    run(test, tls, Limits(header_timeout=LONG))
    assert lines() == ["refused a connection: the client does not use TLS"]


def test_who_says_nothing_to_a_port_of_tls_is_closed(tls: ServerTls) -> None:
    async def test(port: int, stopping: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()

    run(test, tls, Limits(header_timeout=0.1))


def test_who_ends_tls_is_sent_no_more_and_fills_no_log(
    authority: Authority, tls: ServerTls, lines: Callable[[], list[str]]
) -> None:
    ended = asyncio.Event()

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            length = (b"content-length", b"100000000")
            await send({"type": "http.response.start", "status": 200, "headers": [length]})
            for _ in range(1000):
                part = {"type": "http.response.body", "body": b"x" * 100_000, "more_body": True}
                await send(part)
        finally:
            ended.set()

    async def test(port: int, stopping: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context_of(authority), server_hostname="localhost"
        )
        writer.write(get(b"/"))
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await ended.wait()

    run(test, tls, app=large)
    assert lines() == []


def test_connections_that_are_not_open_yet_are_told_to_stop(
    authority: Authority, tls: ServerTls
) -> None:
    async def test(port: int, stopping: asyncio.Event) -> None:
        silent, writer = await asyncio.open_connection("127.0.0.1", port)
        begun, late = await asyncio.open_connection("127.0.0.1", port)
        late.write(b"\x16")  # of a handshake that continues after the stop
        await asyncio.sleep(0.1)
        stopping.set()
        assert await silent.read() == b""
        with suppress(ConnectionError):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            wrapped = context_of(authority).wrap_bio(
                incoming, outgoing, server_hostname="localhost"
            )
            is_first = True
            while True:
                try:
                    wrapped.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    late.write(outgoing.read()[is_first:])
                    is_first = False
                    incoming.write(await begun.read(65536))
            late.write(outgoing.read())
            # The connection is open, and closed like any other without a request.
            while data := await begun.read(65536):
                incoming.write(data)
        writer.close()
        late.close()

    run(test, tls, Limits(header_timeout=LONG))


def test_who_connects_in_a_crowd_is_answered() -> None:
    async def test(port: int, stopping: asyncio.Event) -> None:
        answers = await asyncio.gather(*(ask(port, None) for _ in range(400)))
        assert all(found.endswith(b"http") for found in answers)

    run(test)


def test_without_descriptors_it_waits_and_says_so_once(
    lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "_PAUSE", 0.05)
    tries = 0
    accept = socket.socket.accept

    def counted(listener: socket.socket) -> tuple[socket.socket, object]:
        nonlocal tries
        tries += 1
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", counted)

    async def test(port: int, stopping: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as client:
            client.setblocking(False)
            with socket.socket() as last:
                free = last.fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
            try:
                await loop.sock_connect(client, ("127.0.0.1", port))
                await asyncio.sleep(0.5)
                assert 0 < tries <= 11
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            await loop.sock_sendall(client, get(b"/"))
            assert (await loop.sock_recv(client, 100)).startswith(b"HTTP/1.1 200")

    run(test)
    assert lines() == ["no connection can be accepted: Too many open files"]
