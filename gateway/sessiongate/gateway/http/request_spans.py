"""A span for each request, if OpenTelemetry's variables ask for spans."""

from __future__ import annotations

from opentelemetry.trace import Span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sessiongate.gateway.http.admission import ALWAYS
from sessiongate.gateway.http.metrics import METHODS
from sessiongate.gateway.http.response_tracker import CLOSED
from sessiongate.runtime.telemetry.correlation import (
    TRACEPARENT,
    TRACESTATE,
    Correlation,
    from_headers,
)
from sessiongate.runtime.telemetry.spans import Spans, below, mark_failed

_TRACEPARENT, _TRACESTATE = TRACEPARENT.encode(), TRACESTATE.encode()
_NO_METHOD = "_OTHER"  # OpenTelemetry's name for a method that HTTP does not have


class RequestSpans:
    """Middleware that records requests, except for health checks; use it around `Admission`.

    What follows takes the span as the request's parent. The span of an event stream ends when
    the stream begins.
    """

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Record a request."""
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else _NO_METHOD
        asked = from_headers(scope["headers"])
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        span = self._spans.answering(_named(method), asked, attributes)
        _pass_on(scope, below(span, asked))
        status = CLOSED

        async def sending(message: Message) -> None:
            nonlocal status
            if "status" in message:
                status = message["status"]
                if _begins_stream(message):
                    _end(span, scope, method, status)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            _end(span, scope, method, status)


def _named(method: str) -> str:
    """Return a method as the name of a span has it."""
    return "HTTP" if method == _NO_METHOD else method


def _pass_on(scope: Scope, correlation: Correlation) -> None:
    """State a request's span as the parent of what follows."""
    trace = [(_TRACEPARENT, correlation.traceparent), (_TRACESTATE, correlation.tracestate)]
    headers = [pair for pair in scope["headers"] if pair[0] not in (_TRACEPARENT, _TRACESTATE)]
    scope["headers"] = headers + [(name, value.encode()) for name, value in trace if value]


def _begins_stream(message: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message.get("headers", ())
    )


def _end(span: Span, scope: Scope, method: str, status: int) -> None:
    if not span.is_recording():
        return  # it has ended, or is not sampled
    if route := getattr(scope.get("route"), "path", None):
        span.update_name(f"{_named(method)} {route}")
        span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        mark_failed(span, str(status))
    span.end()
