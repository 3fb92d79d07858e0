"""The listener that a Prometheus server reads metrics from: ``GET /metrics``, and nothing else."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from ipaddress import ip_address
from typing import cast

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from runtime.address import Address
from runtime.listener import listen, real_address

_LONGEST_HEAD = 16 * 1024  # bytes of a request
_PATIENCE = 10.0  # seconds that one may take to be sent and to be answered
_CONNECTIONS = 32  # at once; there is one reader, or a few
_HOST = re.compile(r"\[?([^\[\]]*?)\]?(?::[0-9]{1,5})?")
_HEADERS = (
    "Cache-Control: no-store\r\n"
    "Content-Security-Policy: default-src 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Connection: close\r\n"
)


class Exporter:
    """Listens on ``where``, HOST:PORT, and serves a registry from `start` to `stop`.

    ``address`` is ``where`` with the real port. Raises `ListenError`.

    It answers only requests whose Host is an address, ``localhost``, the listener's
    own or among ``hosts``: a web page can give this listener a name of its own (DNS
    rebinding), but not an address.
    """

    def __init__(
        self, where: str, registry: CollectorRegistry, hosts: Collection[str] = ()
    ) -> None:
        self._listener = listen(where)
        self.address = real_address(where, self._listener)
        self._registry = registry
        names = ("localhost", Address.parse(where).host, *hosts)
        self._hosts = {name.lower() for name in names}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # one a connection

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, sock=self._listener, limit=_LONGEST_HEAD
        )

    async def stop(self) -> None:
        """Stop listening, also where `start` was not reached, and cut what is under way."""
        (self._server or self._listener).close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        try:
            with suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_PATIENCE):
                    writer.write(await self._exchange(reader))
                    await writer.drain()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader) -> bytes:
        if len(self._tasks) > _CONNECTIONS:
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE)
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
                return self._respond(method, target.partition("?")[0], headers)
            case _:
                return _answer(HTTPStatus.BAD_REQUEST)

    def _respond(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        if not self._knows(headers.get("host", "")):
            return _answer(HTTPStatus.MISDIRECTED_REQUEST)
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
        found = _HOST.fullmatch(host)
        name = found[1].lower() if found else ""
        return name in self._hosts or _is_address(name)


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


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _answer(
    status: HTTPStatus, headers: str = "", body: bytes = b"", *, bodiless: bool = False
) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\n{_HEADERS}{headers}"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + (b"" if bodiless else body)
