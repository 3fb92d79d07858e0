"""The response to one HTTP/1.1 request, as an ASGI application sends it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from email.utils import formatdate
from fcntl import ioctl
from functools import lru_cache
from http import HTTPStatus
from termios import TIOCOUTQ
from time import time
from typing import TypeAlias

from starlette.types import Message, Scope

from sessiongate.gateway.http.body_response import lines
from sessiongate.gateway.http.response_tracker import SECURITY_HEADERS, WHOLE, Answer
from sessiongate.gateway.jsonapi.errors import Error, errors_response
from sessiongate.gateway.server.http1_request import RequestHead
from sessiongate.runtime.telemetry.correlation import from_headers

# A larger body is passed to the kernel in parts of this many bytes, each once there is room.
# TLS copies a part, and queues later ones.
_PART, _TLS_PART = 65536, 16384
# Bytes not yet accepted by the kernel at which a response begins to wait, and down to which
# it waits. Chunks are not shared, nor are the copies that TLS makes, of which it holds two, and
# thousands of clients may not read theirs.
_WATER, _UNSHARED_WATER = (65536, 16384), (16384, 4096)

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_WITHOUT_BODY = (204, 304)


# Returns, for the scope of a head, what answers each request with this head on its connection.
FastAnswer: TypeAlias = Callable[[Scope], Answer]


class Http1Response:
    """Lets an application read its request's body and respond."""

    __slots__ = (
        "_body",
        "_left",
        "_part",
        "_room",
        "_start",
        "_transport",
        "_unsent",
        "has_left",
        "is_chunked",
        "is_complete",
        "is_head",
        "is_started",
        "keep_alive",
        "version",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        room: asyncio.Event,
        part: int,
        *,
        is_head: bool,
        version: str,
        keep_alive: bool,
        body: bytes,
    ) -> None:
        """``room`` is set while the transport takes more, ``part`` bytes at a time.

        ``body`` is the request's.
        """
        self.is_head = is_head
        self.version = version
        self.keep_alive = keep_alive
        self.is_started = False
        self.is_chunked = False  # whether it has begun, with an unknown length
        self.is_complete = False
        self.has_left = False  # whether the client disconnected before the end
        self._transport = transport
        self._room = room
        self._part = part
        self._body: bytes | None = body
        self._left: asyncio.Future[None] | None = None
        self._start: Message | None = None
        self._unsent: int | None = None  # bytes left of the stated length, if one is stated

    async def receive(self) -> Message:
        """Return the body as one message, then http.disconnect once the client has left."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if not self.has_left and not self.is_complete:
            self._left = asyncio.get_running_loop().create_future()
            await self._left
        return {"type": "http.disconnect"}

    def leave(self) -> bool:
        """Record that the client has left, or the response is complete; return if anyone waits."""
        self.has_left = not self.is_complete
        if self._left is None:
            return False
        if not self._left.done():
            self._left.set_result(None)
        return True

    async def send(self, message: Message) -> None:
        """Send a message, unless the client has left; return once there is room for the next."""
        if message["type"] in ("http.response.start", WHOLE):
            if self._start is not None or self.is_started:
                raise RuntimeError("the response has already begun")
            if message["type"] == "http.response.start":
                self._start = message
                return
            self.is_started = True
            head = _begin(message) + self._end_of_head()
            await self._write(head, b"" if self.is_head else message["body"])
            self.is_complete = True
            return
        if self.is_complete or (self._start is None and not self.is_started):
            raise RuntimeError(f"{message['type']} cannot be sent now")
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        head = tail = b""
        if self._start is not None:
            head = self._head(self._start, len(body), more=more)
            self.is_started, self._start = True, None
        if self.is_head:
            body = b""
        elif self.is_chunked:
            head += b"%x\r\n" % len(body) if body else b""
            tail = (b"\r\n" if body else b"") + (b"" if more else b"0\r\n\r\n")
        elif self._unsent is not None:
            self._unsent -= len(body)
            if self._unsent < 0 or (self._unsent and not more):
                raise RuntimeError("the body's length differs from the header's")
        await self._write(head, body, tail)
        if not more:
            self.is_complete = True
            if self.is_chunked:
                limit_unsent(self._transport, is_tls=self._part == _TLS_PART)

    async def _write(self, head: bytes, body: bytes, tail: bytes = b"") -> None:
        if self.has_left:
            return
        part = self._part
        if len(body) <= part:
            self._transport.write(head + body + tail)
        else:
            if head:
                self._transport.write(head)
            shared = memoryview(body)  # not copied: other responses may share it
            for start in range(0, len(body), part):
                if not self._room.is_set():
                    await self._room.wait()
                    if self.has_left:
                        return
                self._transport.write(shared[start : start + part])
            if tail:
                self._transport.write(tail)
        if not self._room.is_set():
            await self._room.wait()

    def _head(self, start: Message, length: int, *, more: bool) -> bytes:
        """Return the response's head; the first part of its body has ``length`` bytes."""
        status = start["status"]
        more_lines = b""
        stated = None
        for name, value in start["headers"]:
            if name == b"content-length":
                stated = int(value)
        if stated is None and not self.is_head and status not in _WITHOUT_BODY:
            if not more:
                stated = length
                more_lines = b"content-length: %d\r\n" % length
            elif self.version == "1.1":
                self.is_chunked = True
                self._transport.set_write_buffer_limits(*_UNSHARED_WATER)
                more_lines = b"transfer-encoding: chunked\r\n"
            else:
                self.keep_alive = False
        self._unsent = stated
        written = _STATUS_LINES[status] + lines(start["headers"])
        return written + more_lines + self._end_of_head()

    def _end_of_head(self) -> bytes:
        """Return the lines about the connection, the date, and the empty line."""
        if not self.keep_alive:
            connection = b"connection: close\r\n"
        elif self.version != "1.1":
            connection = b"connection: keep-alive\r\n"
        else:
            connection = b""
        return connection + _date(int(time()))


def limit_unsent(transport: asyncio.WriteTransport, *, is_tls: bool) -> None:
    """Let a response wait once a connection holds too much that the kernel has not accepted."""
    transport.set_write_buffer_limits(*(_UNSHARED_WATER if is_tls else _WATER))


def part_size(*, is_tls: bool) -> int:
    """Return how many bytes of a body a connection is given at a time."""
    return _TLS_PART if is_tls else _PART


def whole_response(fast_path: FastAnswer | None, request: RequestHead, most: int) -> bytes | None:
    """Return the response to a request of a connection that is kept, if it is known at once.

    Its body has at most ``most`` bytes.
    """
    if fast_path is None or request.length or request.scope["http_version"] != "1.1":
        return None
    if request.answer is None:
        request.answer = fast_path(request.scope)
    message = request.answer(most)
    if message is None:
        return None
    return _begin(message) + _date(int(time())) + message["body"]  # type: ignore[no-any-return]


def _begin(message: Message) -> bytes:
    return _STATUS_LINES[message["status"]] + message["head"]  # type: ignore[no-any-return]


def unacknowledged(transport: asyncio.Transport) -> int:
    """Return the number of bytes that the client's kernel has not acknowledged."""
    try:
        found = ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(found, sys.byteorder)


def error_response(error: Error, *, is_head: bool = False) -> bytes:
    """Return a whole response that refuses a request and ends the connection."""
    response = errors_response([error])
    request_id = from_headers(()).request_id.encode()
    headers = [*response.raw_headers, *SECURITY_HEADERS, (b"x-request-id", request_id)]
    headers.append((b"connection", b"close"))
    head = _STATUS_LINES[error.status] + lines(headers) + _date(int(time()))
    return head + (b"" if is_head else bytes(response.body))


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """Return the last line of a head, cached for a second, and the end of the head."""
    return b"date: %b\r\n\r\n" % formatdate(second, usegmt=True).encode()
