"""Answers in parts: sent for as long as their reader is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Parts(Response):
    """An answer of which one part is in memory at a time; what their generator raises cuts it.

    Starlette's own loads what it streams with when the first is sent, which then takes
    longer, and memory that is not expected to be taken.
    """

    def __init__(
        self,
        headers: list[tuple[bytes, bytes]],
        parts: AsyncGenerator[bytes],
        charge: object = None,
    ) -> None:
        """``charge`` is held until it is sent."""
        # Not the base's: nothing of a body that is all here applies.
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
    """Run what sends an answer, until its reader is gone; raises what that raises."""
    sending = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        # What went wrong in sending is raised; that it was cancelled is no wrong.
        with suppress(asyncio.CancelledError):
            await sending


async def _left(receive: Receive) -> None:
    """Wait until the reader is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
