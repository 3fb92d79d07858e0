"""Normalizes paths to the one form that is routed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from sessiongate.runtime.suggestion import MAX_NAME_LENGTH, edits

_PREFIX = "/v1"
# Characters that a segment may contain unencoded (RFC 3986, pchar).
_PLAIN = "-._~!$&'()*+,;=:@"


class NormalizePath:
    """Middleware that gives every path the form that routes are written in.

    That form has no prefix ``/v1``, which is optional as in MaxScale, and no trailing slash;
    each segment is percent-encoded in the shortest way, so that a slash in a name stays
    distinct from those between segments. ``*``, which requests the options of the whole
    server, becomes the root. ``raw_path`` is not changed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.apply(scope)
        await self._app(scope, receive, send)

    def apply(self, scope: Scope) -> None:
        """Set the path of a request."""
        raw = scope["raw_path"]
        scope["path"] = (_remembered if len(raw) <= _SHORT else _routed)(raw)


def routed(path: str) -> str:
    """Return the routed form of a raw path, given with its bytes as Latin-1."""
    if "%" in path or not path.isascii():
        segments = [_segment(segment) for segment in path.split("/")]
        path = "/".join(segments)
    if path.startswith(_PREFIX) and (len(path) == len(_PREFIX) or path[len(_PREFIX)] == "/"):
        path = path[len(_PREFIX) :]
    if path.endswith("/") and not path.endswith("//"):
        path = path[:-1]
    return "/" if path in ("", "*") else path


def _routed(raw: bytes) -> str:
    return routed(raw.decode("latin-1"))


_SHORT = 100  # bytes of a path that may be asked for again
_remembered = lru_cache(maxsize=1024)(_routed)


def nearest_path(path: str, known: Iterable[str]) -> list[str]:
    """Return the documented path nearest to a raw path, with its ids, if one is near."""
    asked = routed(path).split("/")
    if any(len(part) > MAX_NAME_LENGTH for part in asked):
        return []
    found: dict[str, int] = {}
    for documented in known:
        right = routed(documented).split("/")
        if len(right) != len(asked):
            continue
        pairs = [*zip(asked, right, strict=True)]
        far = [0 if _is_id(word) else edits(part.lower(), word) for part, word in pairs]
        if None not in far:
            meant = "/".join(part if _is_id(word) else word for part, word in pairs)
            prefix = documented.removesuffix("/".join(right))
            found[prefix + meant] = sum(count or 0 for count in far)
    return sorted(found, key=found.__getitem__)[:1]


def _is_id(word: str) -> bool:
    return word.startswith("{")


def _segment(text: str) -> str:
    found = unquote_to_bytes(text.encode("latin-1"))
    try:
        return quote(found.decode(), safe=_PLAIN)
    except UnicodeDecodeError:
        return text  # not UTF-8, so it cannot be a name here
