"""Decides which requests are worked on, and for how long, and follows their responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from sessiongate.gateway.errors import RETRY_AFTER
from sessiongate.gateway.http.in_flight import Resting
from sessiongate.gateway.http.metrics import GatewayMetrics
from sessiongate.gateway.http.request_log import RequestLog
from sessiongate.gateway.http.response_tracker import CLOSED, ResponseTracker
from sessiongate.gateway.jsonapi.errors import Error, errors_response
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.limits import Limits
from sessiongate.runtime.background import in_background
from sessiongate.runtime.telemetry.correlation import current, from_headers

# Answered under any load: they show others how the gateway is doing.
ALWAYS = ("/healthz", "/readyz")

_TICK = 0.5  # seconds between two checks of what is being worked on
_BODY = (b"content-length", b"transfer-encoding")
_UNEXPECTED = Error(500, "INTERNAL", "the gateway failed to answer; its log has the cause")
_EVENTS = EVENT_STREAM.encode()  # a client that accepts only this gets an event stream, or an error


class _NoRoomError(Exception):
    """As many event streams are open as allowed."""


class Admission:
    """Middleware that enforces `Limits`; `watching` runs beside it.

    Use it as the outermost that responds. Each request gets an id, which its response and
    its log lines have. An exception goes no further than the log: it is answered with 500 and
    a fixed text, or a response that has begun is cut off.

    It refuses at once. Under too much load, a client with nothing under way is still let
    in, so that clients that ask a lot shut no other out. A request that waits for its
    reader, or for others' readers, does not count as worked on, so that slow readers shut
    nobody out. Neither does a request for an event stream, which counts as a stream before
    the stream begins: a browser that is refused one never asks again, and many come at
    once after a gateway was away.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        log: RequestLog,
        metrics: GatewayMetrics | None = None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._log = log
        self._metrics = metrics
        self._running: dict[ResponseTracker, None] = {}  # being worked on, the oldest first
        self.resting = Resting()  # those of them that nobody is working on
        self._opening = 0  # how many of them are to become streams
        self._streams = 0
        self._of: dict[str, int] = {}  # how many of them each client has, by address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation = from_headers(scope["headers"])
        token = current.set(correlation)
        response = ResponseTracker(send, correlation.request_id, head=scope["method"] == "HEAD")
        try:
            if scope["path"] in ALWAYS:
                await self._app(scope, receive, response)
            else:
                await self._admit(scope, receive, response)
        except Exception as error:
            self._log.failed(error)
            if response.status == CLOSED:  # else it is cut off
                await _refuse(_UNEXPECTED, scope, receive, response)
        finally:
            self._log.ended(scope, response.status, response.seconds, correlation)
            current.reset(token)

    def refuses(self, scope: Scope) -> bool:
        """Return whether each request with this head is refused, or becomes an event stream."""
        error, is_opening = self._refusal_of_head(scope)
        return is_opening or error is not None

    def is_full(self, scope: Scope) -> bool:
        """Return whether there is no room for a request now that asks for no event stream."""
        return self._overload(_address(scope), opening=False) is not None

    async def _admit(self, scope: Scope, receive: Receive, response: ResponseTracker) -> None:
        address = _address(scope)
        error, response.opening = self._refusal_of_head(scope)
        error = error or self._overload(address, opening=response.opening)
        if error is not None:
            await _refuse(error, scope, receive, response)
            return
        response.admit(self._admit_stream, self.resting)
        self._opening += response.opening
        self._running[response] = None
        self._of[address] = self._of.get(address, 0) + 1
        try:
            await self._app(scope, receive, response)
        except _NoRoomError:
            await _refuse(self._too_many_streams(), scope, receive, response)
        except asyncio.CancelledError:
            if not response.timed_out or response.task is None:
                raise
            response.task.uncancel()
            if response.status == CLOSED:  # a response that has begun is cut off
                detail = "the response took longer than request_timeout allows"
                await _refuse(Error(503, "REQUEST_TIMEOUT", detail), scope, receive, response)
        finally:
            response.task = None  # breaks a cycle: the trace of what ends it holds the response
            self._leave(response, address)

    def _leave(self, response: ResponseTracker, address: str) -> None:
        left = self._of[address] - 1
        if left:
            self._of[address] = left
        else:
            del self._of[address]
        if response.streaming is None:
            self._opening -= response.opening
            del self._running[response]
        else:
            self._streams -= 1

    def _refusal_of_head(self, scope: Scope) -> tuple[Error | None, bool]:
        """Return the error of a head, if any, and whether it asks for an event stream."""
        limits, opening = self._limits, False
        query = scope["query_string"]
        length = len(scope["raw_path"]) + (len(query) + 1 if query else 0)
        if length > limits.max_url:
            detail = f"the URL is {length} bytes long; max_url allows {limits.max_url}"
            return Error(414, "URL_TOO_LONG", detail), opening
        total = 0
        body = None
        for name, value in scope["headers"]:
            total += len(name) + len(value)
            if name == b"accept":
                opening = value == _EVENTS
            elif name in _BODY:
                body = name, value
        if total > limits.max_headers:
            detail = f"the header is {total} bytes long; max_headers allows {limits.max_headers}"
            return Error(431, "HEADER_TOO_LARGE", detail), opening
        if body is not None and scope["method"] in ("GET", "HEAD"):
            error = self._body_refusal(*body)
            if error is not None:
                return error, opening
        return None, opening

    def _overload(self, address: str, *, opening: bool) -> Error | None:
        """Return the error if there is no room for a request from an address now."""
        if opening:
            return None if self._has_room() else self._too_many_streams()
        most = self._limits.max_requests
        room = most - (len(self._running) - self.resting.count - self._opening)
        if room <= 0 and (address in self._of or -room >= most):
            return Error(503, "OVERLOADED", "the gateway is overloaded; try again shortly")
        return None

    def _body_refusal(self, name: bytes, value: bytes) -> Error | None:
        allowed = self._limits.max_body
        if name == b"transfer-encoding" or not value.isdigit():  # HTTP/2 lets an empty one through
            return Error(411, "LENGTH_REQUIRED", "a body requires Content-Length")
        if int(value) > allowed:
            detail = f"the body is {int(value)} bytes long; max_body allows {allowed}"
            return Error(413, "BODY_TOO_LARGE", detail)
        return None

    def _has_room(self) -> bool:
        return self._streams + self._opening < self._limits.max_streams

    def _too_many_streams(self) -> Error:
        limit = self._limits.max_streams
        detail = f"{limit} event streams are already open; max_streams allows no more"
        return Error(503, "TOO_MANY_STREAMS", detail)

    def _admit_stream(self, response: ResponseTracker) -> None:
        if response.opening:
            self._opening -= 1
        elif not self._has_room():
            raise _NoRoomError
        del self._running[response]
        self._streams += 1

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Give up requests that take too long."""
        watch = in_background(self._watch, "checking the requests' time")
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            if self._metrics is not None:
                self._metrics.working(len(self._running), self._streams)
            await asyncio.sleep(_TICK)
            for response in self._running:
                response.check_time(self._limits.request_timeout)


def _address(scope: Scope) -> str:
    client = scope["client"]
    return str(client[0]) if client else "unknown"


async def _refuse(error: Error, scope: Scope, receive: Receive, send: Send) -> None:
    headers = RETRY_AFTER if error.status == 503 else None
    await errors_response([error], headers)(scope, receive, send)
