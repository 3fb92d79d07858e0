"""Responses with a complete body, which other responses may share."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from sessiongate.gateway.http.in_flight import Body
from sessiongate.gateway.jsonapi.transfer import RawResponse


class BodyResponse(RawResponse):
    """A response with a complete body. It may be sent any number of times."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: Body) -> None:
        super().__init__(status, headers)
        self._body = body

    @property
    def size(self) -> int:
        """The number of bytes of the body."""
        return self._body.size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(self.start())
        *parts, last = self._body.parts
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": last})
