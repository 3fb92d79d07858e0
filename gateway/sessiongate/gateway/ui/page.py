"""Serves the page for people: static files, which ask the API like any other client.

They hold no secret and need no credentials: who logs in does so on the page, which sends the
credentials with each of its requests.
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sessiongate.gateway.jsonapi.conditional import Conditions, ETag, unchanged
from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.jsonapi.errors import Error, RequestError, errors_response
from sessiongate.gateway.jsonapi.negotiation import JSON, negotiate, negotiate_encoding
from sessiongate.gateway.ui.bundle import bundle

_FOLDER = Path(__file__).with_name("static")
_INDEX = "index.html"
_SCRIPT = "page.js"  # imports all other modules
# In this order: a rule overrides those before it.
_STYLES = ("page.css", "table.css", "panels.css", "past.css")
_HTML = "text/html"
_TYPES = {
    ".html": f"{_HTML}; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# The placeholder in the index for the relative URL of the other files.
_ROOT = b"{root}"
# Scripts, styles and data come from here only, and no text can become markup or a script.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
_ALLOW = {"Allow": "GET, HEAD, OPTIONS"}
_ROUTE = Route("/ui", Response)  # names the files in the metrics


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it is sent."""

    content: bytes
    compressed: bytes
    content_type: str
    etag: ETag

    @classmethod
    def of(cls, content: bytes, suffix: str) -> _File:
        tag = ETag(blake2b(content, digest_size=8).hexdigest(), weak=True)
        return cls(content, gzip.compress(content, mtime=0), _TYPES[suffix], tag)

    def response(self, conditions: Conditions, accept_encoding: str | None) -> Response:
        """Return the file, or 304. Raises `RequestError` (406, 412)."""
        headers = {
            "Vary": "Accept, Accept-Encoding",
            "Cache-Control": "no-cache",
            "ETag": str(self.etag),
            "Content-Security-Policy": _POLICY,
        }
        if unchanged(conditions, self.etag, None, 0):
            return Response(status_code=304, headers=headers)
        content, headers["Content-Type"] = self.content, self.content_type
        if negotiate_encoding(accept_encoding) == "gzip":
            content, headers["Content-Encoding"] = self.compressed, "gzip"
        return Response(content, headers=headers)


@functools.cache
def page_files() -> Mapping[bytes, _File]:
    """Return the files by their paths; read once, so that all of a page are of one version."""
    contents = {path.name: path.read_bytes() for path in _FOLDER.iterdir()}
    index = contents.pop(_INDEX)
    scripts = [name for name in contents if name.endswith(".js")]
    modules = {Path(name).stem: contents.pop(name).decode() for name in scripts}
    contents[_SCRIPT] = bundle(modules, Path(_SCRIPT).stem).encode()
    contents[_STYLES[0]] = b"".join([contents.pop(name) for name in _STYLES])
    found = {
        f"/ui/{name}".encode(): _File.of(content, Path(name).suffix)
        for name, content in contents.items()
    }
    html = Path(_INDEX).suffix
    found[b"/"] = found[b"/ui"] = _File.of(index.replace(_ROOT, b"ui/"), html)
    found[b"/ui/"] = _File.of(index.replace(_ROOT, b""), html)
    return found


class PageMiddleware:
    """Middleware that serves the page at ``/ui/``, and at ``/`` to who prefers HTML.

    It must run before `AuthenticationMiddleware`; it passes on what is not a file of the page.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._files = page_files()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = self._find(scope) if scope["type"] == "http" else None
        if file is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE
        await _response(file, scope)(scope, receive, send)

    def _find(self, scope: Scope) -> _File | None:
        path = scope["raw_path"]
        if path == b"/":
            is_read = scope["method"] in ("GET", "HEAD")
            return self._files[path] if is_read and _prefers_html(scope) else None
        return self._files.get(path)


def _response(file: _File, scope: Scope) -> Response:
    method = scope["method"]
    if method == "OPTIONS":
        return Response(status_code=204, headers=_ALLOW)
    if method not in ("GET", "HEAD"):
        detail = f"{method} is not allowed; allowed are {_ALLOW['Allow']}"
        return errors_response([Error(405, "METHOD_NOT_ALLOWED", detail)], _ALLOW)
    conditions = Conditions.read(scope["headers"])
    try:
        return file.response(conditions, _header(scope, b"accept-encoding"))
    except RequestError as error:
        return errors_response(error.errors)


def _prefers_html(scope: Scope) -> bool:
    try:
        accepted = negotiate(_header(scope, b"accept"), (MEDIA_TYPE, JSON, _HTML))
    except RequestError:
        return False  # the API says what is available
    return accepted.media_type == _HTML


def _header(scope: Scope, name: bytes) -> str | None:
    """Return a header of the request; one that is repeated counts as one list."""
    found = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ", ".join(found) if found else None
