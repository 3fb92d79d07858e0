"""Every request: under an id, logged, counted, and answered with what browsers must know."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.documents import TransferCutError
from gateway.metrics import GatewayMetrics
from runtime.correlation import REQUEST_ID, current, from_headers
from runtime.logs import fields

log = logging.getLogger("gateway.access")
failures = logging.getLogger(__name__)

# A document is data: no page may run, frame or embed it, or guess that it is a page. A
# page of ours brings a policy of its own.
_POLICY = b"content-security-policy"
_SECURITY = [
    (_POLICY, b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"server", b"sessiongate"),  # or the server would name itself
]
_OWN_POLICY = _SECURITY[1:]
_REQUEST_ID = REQUEST_ID.encode()
CLOSED = 499  # stands for the status where the caller left before there was one


class Observation:
    """Middleware, to be the outermost: what others refuse is seen too.

    An exception is logged here, under the request's id, and goes no further; the
    answer to it was sent, or is cut.
    """

    def __init__(
        self, app: ASGIApp, *, access_log: bool = False, metrics: GatewayMetrics | None = None
    ) -> None:
        self._app = app
        self._access_log = access_log
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation = from_headers(scope["headers"])
        token = current.set(correlation)
        answer = _Answer(send, correlation.request_id.encode())
        began = time.perf_counter()
        try:
            await self._app(scope, receive, answer)
        except TransferCutError as error:  # the cause is the core's: no trace leads to it
            failures.warning("an answer is cut short: %s", error)
        except Exception:
            failures.exception("a request failed")
        finally:
            # Of an event stream only how long it took to begin says anything.
            ended = answer.streaming_since or time.perf_counter()
            if self._metrics is not None:
                self._metrics.answered(scope, answer.status, ended - began)
            if self._access_log:
                _log(scope, answer.status, ended - began)
            current.reset(token)


class _Answer:
    """Sends an answer on, with more headers; ``status`` is what it was sent with."""

    __slots__ = ("_request_id", "_send", "status", "streaming_since")

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self._request_id = request_id
        self.status = CLOSED
        self.streaming_since: float | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"]
            if is_event_stream(message):
                self.streaming_since = time.perf_counter()
            own_policy = any(name == _POLICY for name, _ in headers)
            more = _OWN_POLICY if own_policy else _SECURITY
            headers = [*headers, *more, (_REQUEST_ID, self._request_id)]
            message = {**message, "headers": headers}
        await self._send(message)


def is_event_stream(start: Message) -> bool:
    """Whether an answer that starts so goes on until one side ends it."""
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in start["headers"]
    )


def _log(scope: Scope, status: int, took: float) -> None:
    """Never the query: it may name who is looked for."""
    client: Any = scope.get("client")
    path = scope["raw_path"].decode("latin-1")
    more = fields(
        method=scope["method"],
        path=path,
        status=status,
        seconds=round(took, 6),
        client=client[0] if client else "",
    )
    log.info("%s %s %d", scope["method"], path, status, extra=more)
