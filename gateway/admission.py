"""Which requests are worked on, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import RETRY_AFTER
from gateway.jsonapi.errors import Error, errors_response
from gateway.limits import Limits
from gateway.metrics import GatewayMetrics
from gateway.observation import is_event_stream

# Answered whatever there is to do: they tell others how it is going.
ALWAYS = ("/healthz", "/readyz")

_TICK = 0.5  # seconds between two looks at what is being worked on
_STALLED = 1.0  # seconds; a reader that takes nothing for so long keeps no other out


class _Work:
    """One request that is being worked on."""

    __slots__ = ("began", "sending", "stalled", "started", "task", "timed_out")

    def __init__(self, task: asyncio.Task[Any], began: float) -> None:
        self.task = task
        self.began = began
        self.sending: float | None = None  # since when its reader has not taken a piece
        self.started = False  # the answer's status is sent
        self.stalled = False
        self.timed_out = False


class _NoRoomError(Exception):
    """There are as many event streams as there may be."""


class Admission:
    """Middleware that keeps to `Limits`; `watching` runs beside it.

    What is refused is refused at once. A request that waits for its reader does not
    count as worked on, so that slow readers shut nobody out.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: GatewayMetrics | None = None) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._running: dict[_Work, None] = {}  # the oldest first
        self._stalled = 0  # how many of them are
        self._streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        error = self._refusal(scope)
        if error is not None:
            await _answer(error, scope, receive, send)
            return
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        work = _Work(task, asyncio.get_running_loop().time())
        self._running[work] = None
        try:
            await self._app(scope, receive, self._sending(work, send))
        except _NoRoomError:
            limit = self._limits.max_streams
            detail = f"{limit} event streams are open already; max_streams allows no more"
            await _answer(Error(503, "TOO_MANY_STREAMS", detail), scope, receive, send)
        except asyncio.CancelledError:
            if not work.timed_out:
                raise
            task.uncancel()
            if not work.started:  # what is, is cut
                detail = "the answer took too long; request_timeout allows no more"
                await _answer(Error(503, "REQUEST_TIMEOUT", detail), scope, receive, send)
        finally:
            self._end(work)

    def _refusal(self, scope: Scope) -> Error | None:
        limits = self._limits
        query = scope["query_string"]
        length = len(scope["raw_path"]) + (len(query) + 1 if query else 0)
        if length > limits.max_url:
            detail = f"the URL is {length} bytes long; max_url allows {limits.max_url}"
            return Error(414, "URL_TOO_LONG", detail)
        total = 0
        for name, value in scope["headers"]:
            total += len(name) + len(value)
        if total > limits.max_headers:
            detail = f"the header is {total} bytes long; max_headers allows {limits.max_headers}"
            return Error(431, "HEADER_TOO_LARGE", detail)
        if scope["method"] in ("GET", "HEAD") and (error := self._body_refusal(scope)):
            return error
        if len(self._running) - self._stalled >= limits.max_requests:
            return Error(503, "OVERLOADED", "there is too much to do just now; try again shortly")
        return None

    def _body_refusal(self, scope: Scope) -> Error | None:
        allowed = self._limits.max_body
        for name, value in scope["headers"]:
            if name == b"transfer-encoding":
                return Error(411, "LENGTH_REQUIRED", "a body must come with its length")
            if name == b"content-length" and int(value) > allowed:
                detail = f"the body is {int(value)} bytes long; max_body allows {allowed}"
                return Error(413, "BODY_TOO_LARGE", detail)
        return None

    def _sending(self, work: _Work, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if is_event_stream(message):
                    self._become_stream(work)
                work.started = True
            work.sending = asyncio.get_running_loop().time()
            try:
                await send(message)
            finally:
                work.sending = None
                self._set_stalled(work, stalled=False)

        return sending

    def _become_stream(self, work: _Work) -> None:
        if self._streams >= self._limits.max_streams:
            raise _NoRoomError
        del self._running[work]
        self._streams += 1

    def _end(self, work: _Work) -> None:
        if work in self._running:
            self._set_stalled(work, stalled=False)
            del self._running[work]
        elif work.started:
            self._streams -= 1

    def _set_stalled(self, work: _Work, *, stalled: bool) -> None:
        if work.stalled != stalled:
            work.stalled = stalled
            self._stalled += 1 if stalled else -1

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Give up what takes too long, and look for readers that stall."""
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            if self._metrics is not None:
                self._metrics.working(len(self._running), self._streams)
            await asyncio.sleep(_TICK)
            now = clock()
            for work in self._running:
                if now - work.began > self._limits.request_timeout and not work.timed_out:
                    work.timed_out = True
                    work.task.cancel()
                elif work.sending is not None and now - work.sending > _STALLED:
                    self._set_stalled(work, stalled=True)


async def _answer(error: Error, scope: Scope, receive: Receive, send: Send) -> None:
    headers = RETRY_AFTER if error.status == 503 else None
    await errors_response([error], headers)(scope, receive, send)
