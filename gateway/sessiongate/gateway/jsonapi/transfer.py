"""Responses whose headers are already encoded, and their transfer to a connected client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send


class TransferCutError(Exception):
    """The rest of a document is unavailable, but its beginning has been sent."""


class RawResponse(Response):
    """A response whose headers are already encoded; subclasses send its body.

    It does not call Starlette's constructor, which encodes headers and needs a complete body.
    """

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = status
        self.raw_headers = headers
        self.background = None

    def start(self) -> Message:
        """Return the message that begins the response."""
        return {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }


class Parts(RawResponse):
    """A response with one part in memory at a time; an exception in the generator cuts it short.

    Starlette's own loads its streaming code when it sends the first response, which then
    takes longer, and takes memory unexpectedly.
    """

    def __init__(
        self,
        headers: list[tuple[bytes, bytes]],
        parts: AsyncGenerator[bytes],
        charge: object = None,
    ) -> None:
        """Hold ``charge`` until the response is sent."""
        super().__init__(200, headers)
        self._parts = parts
        self._charge = charge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._parts):
            await send_while_read(self._send(send), receive)

    async def _send(self, send: Send) -> None:
        await send(self.start())
        async for part in self._parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})


async def send_while_read(sending: Coroutine[object, object, None], receive: Receive) -> None:
    """Run ``sending`` until it ends or the client disconnects; raises what it raises."""
    task = asyncio.ensure_future(sending)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (task, leaving):
            each.cancel()
        # An error in sending is raised; its cancellation is not an error.
        with suppress(asyncio.CancelledError):
            await task


async def _left(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
