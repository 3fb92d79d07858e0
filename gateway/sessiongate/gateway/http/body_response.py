"""Responses with a complete body, which other responses may share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from starlette.types import Message, Receive, Scope, Send

from sessiongate.gateway.http.in_flight import Body
from sessiongate.gateway.http.response_tracker import SECURITY_HEADERS, WHOLE
from sessiongate.gateway.jsonapi.transfer import RawResponse

RawHeaders: TypeAlias = Iterable[tuple[bytes, bytes]]


class BodyResponse(RawResponse):
    """A response with a complete body. It may be sent any number of times."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: Body) -> None:
        super().__init__(status, headers)
        self.shared = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(self.start())
        *parts, last = self.shared.parts
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": last})


class WrittenResponse(RawResponse):
    """The same response as another one, with all its headers written once."""

    def __init__(self, response: BodyResponse) -> None:
        super().__init__(response.status_code, response.raw_headers)
        self._response = response
        self._head = lines((*response.raw_headers, *SECURITY_HEADERS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = self.message() if WHOLE in scope.get("extensions", ()) else None
        if message is None:
            await self._response(scope, receive, send)
        else:
            await send(message)

    def message(self) -> Message | None:
        """Return the response as one message, unless its body has several parts."""
        parts = self._response.shared.parts
        if len(parts) > 1:
            return None
        return {"type": WHOLE, "status": self.status_code, "head": self._head, "body": parts[0]}


def lines(headers: RawHeaders) -> bytes:
    """Write headers as lines."""
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])
