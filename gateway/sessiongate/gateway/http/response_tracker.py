"""A response on its way out: what is added to it, and how far it has got."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeAlias

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
# An extension of ASGI: a response as one message, with "status" and "body", and with its headers
# in "head", as lines that are already written.
WHOLE = "sessiongate.whole"
# Answers a request whose head has been looked at before: returns a message of type `WHOLE`, if it
# is known by now and its body has at most as many bytes as given. Send it: it is already logged
# and counted.
Answer: TypeAlias = Callable[[int], Message | None]
_REQUEST_ID = REQUEST_ID.encode()
CLOSED = 499  # the status if the caller left before there was one


def with_request_id(message: Message, request_id: bytes) -> None:
    """Add the header with the request's id to a whole response."""
    message["head"] += b"%b: %b\r\n" % (_REQUEST_ID, request_id)


class ResponseTracker:
    """Passes a response on with more headers; for HEAD, without its body.

    `Admission` has one for each request; a single object, because every layer costs time.
    """

    __slots__ = (
        "_admit_stream",
        "_head",
        "_request_id",
        "_resting",
        "_send",
        "began",
        "opening",
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
        self.began = monotonic()
        self.streaming: float | None = None  # when it became an event stream
        self.opening = False  # whether an event stream is asked for, and has not begun
        self.timed_out = False
        self.task: asyncio.Task[Any] | None = None  # that works on it, once it is admitted
        self._admit_stream: Callable[[ResponseTracker], None] | None = None
        self._resting: Resting | None = None

    def admit(self, admit_stream: Callable[[ResponseTracker], None], resting: Resting) -> None:
        """Note that the current task works on it.

        ``admit_stream`` is called before it becomes an event stream, and may refuse by an
        exception; ``resting`` counts it while it waits for its reader.
        """
        self.task = asyncio.current_task()
        self._admit_stream = admit_stream
        self._resting = resting

    @property
    def seconds(self) -> float:
        """How long it has taken so far; an event stream, until it began."""
        return (self.streaming or monotonic()) - self.began

    def check_time(self, limit: float) -> None:
        """Cancel its task, once, if it has taken longer than ``limit`` seconds."""
        if self.seconds > limit and not self.timed_out and self.task is not None:
            self.timed_out = True
            self.task.cancel()

    async def __call__(self, message: Message) -> None:
        if message["type"] == WHOLE:  # a document that has the other headers
            self.status = message["status"]
            with_request_id(message, self._request_id)
        elif message["type"] == "http.response.start":
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
            # An error response has a body, which must not follow.
            message["body"] = b""
        resting = self._resting
        if resting is None or self.opening or self.streaming is not None:
            await self._send(message)
        else:
            resting.count += 1
            try:
                await self._send(message)
            finally:
                resting.count -= 1

    def _become_stream(self) -> None:
        if self._admit_stream is not None:
            self._admit_stream(self)
        self.streaming = monotonic()
