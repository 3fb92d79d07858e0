"""The head of an HTTP/1.1 request, parsed by llhttp, as the scope of an ASGI application.

Unlike llhttp, this module accepts absolute targets, and characters in the target that
clients should percent-encode but do not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from sessiongate.gateway.http.response_tracker import WHOLE, Answer
from sessiongate.gateway.jsonapi.errors import Error

_RAW = re.compile(rb'["<>\\^`{|}\x80-\xff]')
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)

_VERSIONS = (b" HTTP/1.1", b" HTTP/1.0")
_VERSION = re.compile(rb" HTTP/([0-9])\.[0-9]$")
_METHOD = re.compile(rb"[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]* ")

_EXTENSIONS: dict[str, dict[str, object]] = {WHOLE: {}}
MALFORMED = Error(400, "MALFORMED_REQUEST", "not an HTTP/1.1 request")
# Lines of a header: short ones take more time than their bytes suggest.
_MAX_LINES = 100
_MANY_LINES = Error(431, "HEADER_TOO_LARGE", f"the header must have at most {_MAX_LINES} lines")
_OTHER_VERSION = Error(
    505, "VERSION_NOT_SUPPORTED", "this version of HTTP is not supported; use HTTP/1.1"
)
_UNKNOWN_METHOD = Error(501, "UNKNOWN_METHOD", "unknown HTTP method")
_EXPECTATION = Error(417, "EXPECTATION_FAILED", "Expect must be 100-continue")
_NO_PATH = Error(400, "MALFORMED_REQUEST", "the request target must be a path")
_FRAGMENT = Error(400, "MALFORMED_REQUEST", "the request target must not have a fragment")


# Bytes and lines of a head that is remembered for as long as its connection is used. Once parsed,
# each line takes 140 bytes more.
_REMEMBERED, _REMEMBERED_LINES = 2048, 32


@dataclass(slots=True)
class RequestHead:
    """The parsed head of a request, and of others that are the same."""

    scope: Scope  # no request's own: see `own_scope`
    keep_alive: bool  # whether to keep the connection
    length: int  # bytes of the body to read
    is_read: bool  # whether these are the whole body
    expects_continue: bool  # whether the client waits for 100 (Continue)
    answer: Answer | None = None  # what the fast path answers it by, once that has been asked

    def has_arrived(self, body: bytes) -> bool:
        """Return whether all of the body that is read has arrived."""
        return len(body) >= self.length

    def own_scope(self) -> Scope:
        """Return the scope of one request, which an application may change."""
        return {**self.scope, "headers": [*self.scope["headers"]], "state": {}}


class HeadParser:
    """Parses the heads of one connection's requests, each of them as `parse_head` does.

    A client that asks again mostly sends the same head, so it is parsed only once.
    """

    __slots__ = ("_connection", "_last", "_max_body")

    def __init__(self, transport: asyncio.Transport, max_body: int) -> None:
        # The addresses are None if the client has disconnected already.
        client, server = map(transport.get_extra_info, ("peername", "sockname"))
        is_tls = transport.get_extra_info("sslcontext") is not None
        self._connection = {
            "scheme": "https" if is_tls else "http",
            "client": client and client[:2],
            "server": server and server[:2],
        }
        self._max_body = max_body
        self._last: tuple[bytes, RequestHead] | None = None

    def parse(self, head: bytes) -> RequestHead | Error:
        """Parse the head of a request, up to its empty line."""
        if self._last is not None and self._last[0] == head:
            return self._last[1]
        found = parse_head(head, self._connection, self._max_body)
        if (
            isinstance(found, RequestHead)
            and len(head) <= _REMEMBERED
            and len(found.scope["headers"]) <= _REMEMBERED_LINES
        ):
            self._last = head, found
        return found

    def forget(self) -> None:
        """Forget the last head, which may contain credentials."""
        self._last = None


def parse_head(head: bytes, connection: Mapping[str, Any], max_body: int) -> RequestHead | Error:
    """Parse the head of a request, up to its empty line.

    ``connection`` has the scope's members of the connection. A body of more than
    ``max_body`` bytes is not read.
    """
    line = head.index(b"\r\n")
    if not head[:line].endswith(_VERSIONS):  # the parser accepts unsupported ones
        version = _VERSION.search(head, 0, line)
        if version is None:
            return MALFORMED
        if version[1] != b"1":
            return _OTHER_VERSION
        head = head[: line - 1] + b"1" + head[line:]  # later 1.x count as 1.1 (RFC 9110, 2.5)
    if head.count(b"\r\n") > _MAX_LINES + 2:  # the request line, and the end
        return _MANY_LINES
    if _RAW.search(head, 0, line):
        head = _RAW.sub(_percent_encoded, head[:line]) + head[line:]
    parsed = _Head()
    try:
        parsed.feed(head)
    except httptools.HttpParserUpgrade:
        pass  # to an unsupported protocol: continue with HTTP/1.1
    except httptools.HttpParserInvalidMethodError:
        return _UNKNOWN_METHOD if _METHOD.match(head) else MALFORMED
    except httptools.HttpParserError:
        return MALFORMED
    url, headers = parsed.url, parsed.headers
    if not url.startswith(b"/") and (url != b"*" or parsed.method != "OPTIONS"):
        # The authority of an absolute target takes precedence over Host (RFC 9112, 3.2.2).
        absolute = _ABSOLUTE.fullmatch(url)
        if absolute is None:
            return _NO_PATH
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) == 1 or (not hosts and parsed.version == "1.0"):  # else it is invalid anyway
            others = (pair for pair in headers if pair[0] != b"host")
            headers = [(b"host", absolute[1]), *others]
        url = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    if b"#" in url:
        return _FRAGMENT
    path, _, query = url.partition(b"?")
    scope = {
        **connection,
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": parsed.version,
        "method": parsed.method,
        "root_path": "",
        "path": unquote(path.decode()) if b"%" in path else path.decode(),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
        "state": {},
        "extensions": _EXTENSIONS,
    }
    return _with_body(scope, parsed.keep_alive, max_body)


def too_long(head: bytes) -> Error:
    """Return the error for a head that has no end within the limit."""
    if b"\n" in head:
        return Error(431, "HEADER_TOO_LARGE", "the header is larger than max_headers allows")
    if b" " not in head:  # not the URL is too long, but the method
        return MALFORMED
    return Error(414, "URL_TOO_LONG", "the URL is longer than max_url allows")


class _Head:
    """The parts of a head, as the parser reports them."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.method = self.version = ""
        self.keep_alive = False
        self._parser: httptools.HttpRequestParser | None = None

    def feed(self, head: bytes) -> None:
        """Parse a whole head. Raises what the parser raises."""
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(head)
        finally:
            self._parser = None  # it holds this object

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # After the end of the message, the parser no longer has them.
        parser = self._parser
        assert parser is not None  # noqa: S101 - it calls this
        self.method = parser.get_method().decode()
        self.version = parser.get_http_version()
        self.keep_alive = parser.should_keep_alive()


def _with_body(scope: dict[str, Any], keep_alive: bool, max_body: int) -> RequestHead | Error:
    length, is_read, expects_continue = 0, True, False
    for name, value in scope["headers"]:
        if name == b"content-length":  # the parser has checked that it is a number
            length = int(value)
        elif name == b"transfer-encoding":
            is_read = False
        elif name == b"expect" and scope["http_version"] == "1.1":  # RFC 9110, section 10.1.1
            if value.lower() != b"100-continue":
                return _EXPECTATION
            expects_continue = True
    is_read = is_read and length <= max_body
    return RequestHead(scope, keep_alive, length if is_read else 0, is_read, expects_continue)


def _percent_encoded(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(found[0])
