"""Server-sent events: how one is written, and the response that carries them.

The format is WHATWG's (HTML, section 9.2). If a response is cut short or its reader stalls,
it stops before its transfer coding ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.jsonapi.ids import parse_id
from sessiongate.gateway.jsonapi.transfer import RawResponse, send_while_read

EVENT_STREAM = "text/event-stream"
LAST_EVENT_ID = "Last-Event-ID"

_HEADERS = (
    (b"content-type", EVENT_STREAM.encode()),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept"),
    # Proxies such as nginx buffer a response unless they know that it is a stream.
    (b"x-accel-buffering", b"no"),
)


def event(name: str, data: bytes, ident: int | None = None) -> bytes:
    """Write one event. ``data`` must not contain line breaks; compact JSON has none.

    A reader that reconnects sends back the last ``ident`` that it received.
    """
    if ident is None:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name.encode(), ident, data)


def reconnect_after(seconds: float) -> bytes:
    """Write how long the reader must wait before it reconnects after being cut off."""
    return b"retry: %d\n\n" % (seconds * 1000)


def alive(ident: int | None) -> bytes:
    """Write a keep-alive, which is not an event; readers remember its ``ident`` nevertheless."""
    return b": alive\n\n" if ident is None else b": alive\nid: %d\n\n" % ident


def last_event_id(request: Request) -> int | None:
    """Return the last id that a reader received. Raises `RequestError` if it is not one of ours."""
    text = request.headers.get(LAST_EVENT_ID)
    if not text:
        return None
    found = parse_id(text)
    if found is None:
        detail = f"{LAST_EVENT_ID} is not an id of this stream; omit it to start over"
        raise RequestError(Error(400, "INVALID_HEADER", detail, header=LAST_EVENT_ID))
    return found


class EventStream(RawResponse):
    """An answer without an end of its own, in parts that are sent as they arrive.

    One part is in memory at a time: the next is requested once there is room for it.
    Each part is sent inside ``patience``, which raises `TimeoutError` to cut off a
    reader that makes no room.
    """

    def __init__(
        self,
        first: Sequence[bytes],
        rest: AsyncGenerator[bytes],
        patience: Callable[[], AbstractAsyncContextManager[object]],
    ) -> None:
        super().__init__(200, list(_HEADERS))
        self._first = first
        self._rest = rest
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._rest):
            await send(self.start())
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body"})
                return
            await send_while_read(self._send(send), receive)

    async def _send(self, send: Send) -> None:
        with suppress(_StalledError):
            for part in self._first:
                await self._put(send, part)
            async for part in self._rest:
                await self._put(send, part)
            await send({"type": "http.response.body"})

    async def _put(self, send: Send, part: bytes) -> None:
        try:
            async with self._patience():
                await send({"type": "http.response.body", "body": part, "more_body": True})
        except TimeoutError:
            raise _StalledError from None


class _StalledError(Exception):
    """The reader has stopped reading."""
