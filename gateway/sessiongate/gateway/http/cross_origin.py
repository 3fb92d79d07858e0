"""Lets the pages of named origins read responses (CORS, as the Fetch standard defines it).

Cookies play no part: a page sends credentials in ``Authorization``.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sessiongate.gateway.http.body_response import RawHeaders, lines
from sessiongate.gateway.http.response_tracker import WHOLE

_VARY = (b"vary", b"Origin")
# Headers that a page may send and read, besides those that every page may.
_SENT = (
    b"Authorization, If-Match, If-Modified-Since, If-None-Match, If-Unmodified-Since,"
    b" Last-Event-ID, Traceparent, X-Request-ID"
)
_READ = b"Date, ETag, Retry-After, WWW-Authenticate, X-Request-ID"
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", _SENT),
    (b"access-control-max-age", b"7200"),
)


class CrossOrigin:
    """Middleware that adds to responses which page may read them.

    Use it as the outermost, so that errors can be read, too. The application answers
    preflight requests like any other OPTIONS, and without credentials: a browser cannot
    send them. `is_preflight` recognizes these.
    """

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = self._headers(scope)

        async def send_readable(message: Message) -> None:
            if message["type"] == WHOLE:
                message["head"] += lines(headers)
            elif message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._app(scope, receive, send_readable)

    def allow(self, scope: Scope, message: Message) -> None:
        """Add the headers to a whole response."""
        message["head"] += lines(self._headers(scope))

    def _headers(self, scope: Scope) -> RawHeaders:
        origin = _only(scope, b"origin")
        if origin not in self._origins:
            return (_VARY,)
        named = (b"access-control-allow-origin", origin)
        if scope["method"] == "OPTIONS" and _only(scope, b"access-control-request-method"):
            scope.setdefault("state", {})["preflight"] = True
            return (_VARY, named, *_PREFLIGHT)
        return (_VARY, named, (b"access-control-expose-headers", _READ))


def is_preflight(scope: Scope) -> bool:
    """Return whether a browser asks for a page of a named origin what it may send."""
    return "preflight" in scope.get("state", ())


def _only(scope: Scope, wanted: bytes) -> bytes:
    """Return the value of a header that is there once, else an empty one."""
    found = [value for name, value in scope["headers"] if name == wanted]
    return found[0] if len(found) == 1 else b""
