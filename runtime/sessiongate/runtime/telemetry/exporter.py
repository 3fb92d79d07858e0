"""The listener that serves metrics to a Prometheus server: ``GET /metrics`` and nothing else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from sessiongate.runtime.addresses import Address, parse_ip, split_host
from sessiongate.runtime.auth.authenticator import Authenticator
from sessiongate.runtime.auth.identity import Refusal, TooManyAttemptsError
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.background import in_background
from sessiongate.runtime.listener import listen, real_address
from sessiongate.runtime.tls import server_context

_LONGEST_HEAD = 16 * 1024  # bytes of a request
_PATIENCE = 10.0  # seconds that a request may take to be sent and answered
_RETRY = 1.0  # seconds until connections are accepted again after a failure
_CONNECTIONS = 32  # at once, then the oldest is cut; there is one reader, or a few
_HEADERS = (
    "Cache-Control: no-store\r\n"
    "Content-Security-Policy: default-src 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Connection: close\r\n"
)


class Exporter:
    """Listens on ``where``, HOST:PORT, and serves a registry from `start` to `stop`.

    TLS and credentials are as ``protection`` says. On loopback it answers only requests
    whose Host is an address, ``localhost`` or the listener's own: a web page can give
    this listener a name of its own (DNS rebinding), but not an address. Raises
    `ListenError`, and `FileError` if a file of the protection cannot be used.
    """

    def __init__(
        self,
        where: str,
        registry: CollectorRegistry,
        protection: Protection | None = None,
    ) -> None:
        protection = protection or Protection()
        tls, credentials = protection.tls, protection.credentials()
        self._registry = registry
        self._tls = server_context(tls) if tls else None
        self._certificate = "certificate" if credentials.certificates else None
        self._authenticator = Authenticator(credentials) if credentials.wanted else None
        self._address = Address.parse(where)
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}  # one per connection, the oldest first
        self._listener = listen(where)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://{real_address(where, self._listener)}/metrics"

    async def start(self) -> None:
        """Begin to answer."""
        self._listener.setblocking(False)
        self._accepting = in_background(self._accept, "accepting readers of metrics")

    async def stop(self) -> None:
        """Stop listening, even if `start` was not reached, and cut what is under way."""
        tasks = [*self._tasks, *([self._accepting] if self._accepting else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()
        if self._authenticator is not None:
            self._authenticator.close()

    async def _accept(self) -> None:
        while True:
            try:
                connection, peer = await asyncio.get_running_loop().sock_accept(self._listener)
            except OSError:  # out of descriptors, for example
                await asyncio.sleep(_RETRY)
                continue
            if len(self._tasks) >= _CONNECTIONS:  # real readers are answered in milliseconds
                oldest = next(iter(self._tasks))
                del self._tasks[oldest]
                oldest.cancel()
            task = asyncio.create_task(self._serve(connection, str(peer[0])))
            self._tasks[task] = None
            task.add_done_callback(lambda ended: self._tasks.pop(ended, None))
            await asyncio.sleep(0)  # a task that is cancelled before it begins closes nothing

    async def _serve(self, connection: socket.socket, address: str) -> None:
        # Also end quietly if cut: asyncio's streams complain about a cancelled task.
        with suppress(TimeoutError, OSError, EOFError, asyncio.CancelledError):
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await self._open(connection)
                try:
                    writer.write(await self._exchange(reader, address))
                    await writer.drain()
                finally:
                    writer.close()

    async def _open(
        self, connection: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the streams of a connection, after the handshake if there is TLS."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LONGEST_HEAD)
        protocol = asyncio.StreamReaderProtocol(reader)
        tls = self._tls.value if self._tls else None  # the files as they are now
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
        except BaseException:
            connection.close()
            raise
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _exchange(self, reader: asyncio.StreamReader, address: str) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)
        }
        match line.split(" "):
            case [method, target, "HTTP/1.0" | "HTTP/1.1"]:
                refused = await self._refusal(headers, address)
                return refused or self._respond(method, target.partition("?")[0], headers)
            case _:
                return _answer(HTTPStatus.BAD_REQUEST)

    async def _refusal(self, headers: Mapping[str, str], address: str) -> bytes | None:
        """Return the answer to a request that is refused; None if it is not."""
        if not self._knows(headers.get("host", "")):
            return _answer(HTTPStatus.MISDIRECTED_REQUEST)
        if self._authenticator is None:
            return None
        try:
            await self._authenticator.authenticate(
                headers.get("authorization"), self._certificate, address
            )
        except TooManyAttemptsError as refusal:
            wait = f"Retry-After: {refusal.retry_after}\r\n"
            return _answer(HTTPStatus.TOO_MANY_REQUESTS, wait)
        except Refusal:
            challenges = (
                f"WWW-Authenticate: {each}\r\n" for each in self._authenticator.challenges
            )
            return _answer(HTTPStatus.UNAUTHORIZED, "".join(challenges))
        return None

    def _respond(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        if path != "/metrics":
            return _answer(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _answer(HTTPStatus.METHOD_NOT_ALLOWED, "Allow: GET, HEAD\r\n")
        encode, kind = choose_encoder(headers.get("accept", ""))
        return _answer(
            HTTPStatus.OK,
            f"Content-Type: {kind}\r\n",
            encode(self._registry),
            bodiless=method == "HEAD",
        )

    def _knows(self, host: str) -> bool:
        if not self._address.is_loopback:
            return True
        found = split_host(host)
        if found is None:
            return False
        name = found[0].lower()
        return name in ("localhost", self._address.host.lower()) or parse_ip(name) is not None


@contextmanager
def exporting(exporter: Exporter) -> Iterator[None]:
    """Run an exporter beside a program that has no event loop of its own."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(exporter.start())
    thread = threading.Thread(target=loop.run_forever, name="exporter", daemon=True)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(exporter.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _answer(
    status: HTTPStatus, headers: str = "", body: bytes = b"", *, bodiless: bool = False
) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\n{_HEADERS}{headers}"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + (b"" if bodiless else body)
