"""Answers in parts, sent for as long as their reader is connected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Parts(Response):
    """An answer with one part in memory at a time; an exception in the generator cuts it short.

    Starlette's own loads its streaming code when the first answer is sent, which then
    takes longer, and takes memory unexpectedly.
    """

    def __init__(
        self,
        headers: list[tuple[bytes, bytes]],
        parts: AsyncGenerator[bytes],
        charge: object = None,
    ) -> None:
        """Hold ``charge`` until the answer is sent."""
        # Skips the base's __init__, which is for a body that is complete.
        self.status_code = 200
        self.raw_headers = headers
        self.background = None
        self._parts = parts
        self._charge = charge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._parts):
            await send_while_read(self._send(send), receive)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for part in self._parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})


async def send_while_read(answer: Coroutine[object, object, None], receive: Receive) -> None:
    """Run ``answer`` until it ends or its reader is gone; raises what it raises."""
    sending = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        # An error in sending is raised; its cancellation is not an error.
        with suppress(asyncio.CancelledError):
            await sending


async def _left(receive: Receive) -> None:
    """Wait until the reader is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
