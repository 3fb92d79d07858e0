"""An answer on its way out: what is added to it, and how far it has got."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from starlette.types import Message, Send

from sessiongate.gateway.http.in_flight import Resting
from sessiongate.runtime.telemetry.correlation import REQUEST_ID

# A document is data: no page may run, frame or embed it, or guess that it is a page. Our
# own pages bring their own policy.
_POLICY = b"content-security-policy"
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (_POLICY, b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"server", b"sessiongate"),  # else the server would name itself
)
_OWN_POLICY = SECURITY_HEADERS[1:]
_REQUEST_ID = REQUEST_ID.encode()
CLOSED = 499  # the status if the caller left before there was one


class ResponseTracker:
    """Passes an answer on with more headers; for HEAD, without its body.

    One object does it all, because every layer costs time.
    """

    __slots__ = (
        "_head",
        "_request_id",
        "_send",
        "admit_stream",
        "began",
        "opening",
        "resting",
        "status",
        "streaming",
        "task",
        "timed_out",
    )

    def __init__(self, send: Send, request_id: str, *, head: bool) -> None:
        self._send = send
        self._head = head
        self._request_id = request_id.encode()
        self.status = CLOSED
        self.streaming: float | None = None  # when it became a stream of events
        # Used by `gateway.http.admission`.
        self.admit_stream: Callable[[ResponseTracker], None] | None = (
            None  # called before one begins
        )
        self.task: asyncio.Task[Any] | None = None
        self.began = monotonic()
        self.opening = False  # whether it was asked for as a stream, and is not one yet
        self.resting: Resting | None = None  # counts it while it waits for its reader
        self.timed_out = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            more = SECURITY_HEADERS
            for name, value in message["headers"]:
                if name == b"content-type":
                    if value.startswith(b"text/event-stream"):
                        self._become_stream()
                elif name == _POLICY:
                    more = _OWN_POLICY
            self.status = message["status"]
            message["headers"] = [*message["headers"], *more, (_REQUEST_ID, self._request_id)]
        elif self._head:
            # An error has a body; over HTTP/2, sending it would break the protocol.
            message["body"] = b""
        if self.resting is None or self.opening or self.streaming is not None:
            await self._send(message)
        else:
            self.resting.count += 1
            try:
                await self._send(message)
            finally:
                self.resting.count -= 1

    def _become_stream(self) -> None:
        if self.admit_stream is not None:
            self.admit_stream(self)
        self.streaming = monotonic()
