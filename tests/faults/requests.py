"""Requests to this API, valid and invalid in every part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.jsonapi.paging import PROFILE
from sessiongate.gateway.jsonapi.query import AllowedParameters
from tests.faults.queries import among, any_text, counts, parameters, rarely, slipped
from tests.gateway.fleet import SERVICES, SIZE

_ENDS = b"\r\n\0"


@dataclass(frozen=True, slots=True)
class Request:
    """A request of HTTP/1.1, byte for byte."""

    method: str
    target: bytes
    headers: tuple[tuple[str, bytes], ...]
    body: bytes = b""
    framed: bool = True  # otherwise its end is unknown

    @property
    def wire(self) -> bytes:
        """The request as sent, without the bytes that would end a line early."""
        head = b"%b %b HTTP/1.1\r\n" % (self.method.encode(), self.target.translate(None, _ENDS))
        lines = [b"%b: %b\r\n" % (n.encode(), v.translate(None, _ENDS)) for n, v in self.headers]
        return b"".join((head, *lines, b"\r\n", self.body))


# How a text may be written in a URL: encoded correctly, excessively, too little, or badly.

_WRITERS: Mapping[str, Callable[[str], bytes]] = {
    "right": lambda text: quote(text, safe="", errors="surrogatepass").encode(),
    "short": lambda text: quote(text, safe="!$'()*,;:@/?[]", errors="surrogatepass").encode(),
    "lower": lambda text: b"".join(b"%%%02x" % byte for byte in _bytes(text)),
    "twice": lambda text: quote(quote(text, safe="", errors="surrogatepass")).encode(),
    "latin": lambda text: quote(text, safe="", encoding="latin-1", errors="replace").encode(),
    "bytes": lambda text: _bytes(text),
}
_writers = st.sampled_from([*["right"] * 9, "short", "short", *_WRITERS]).map(_WRITERS.__getitem__)
_BROKEN = (b"%", b"%4", b"%zz", b"%ff", b"%c0%af", b"%ed%a0%80", b"+", b"=", b"&", b"/", b";")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@st.composite
def _broken(draw: DrawFn, urls: SearchStrategy[bytes]) -> bytes:
    """Draw a part of a URL, at times with something out of place in it."""
    url = draw(urls)
    if not draw(rarely):
        return url
    at = draw(st.integers(0, len(url)))
    return url[:at] + draw(st.sampled_from(_BROKEN)) + url[at:]


# Paths and queries.

_idents = st.one_of(
    *[st.integers(0, SIZE + 1).map(str)] * 2,
    st.sampled_from(SERVICES),
    st.sampled_from(["007", "-1", "1.0", "٣", str(2**64 - 1), str(2**64), "9" * 300, "fleet.json"]),
    any_text,
)
_words = st.one_of(
    _idents,
    st.sampled_from(["", "v1", "v2", "sessions", "services", "sources", "relationships"]),
    st.sampled_from([".", "..", "docs", "openapi.json", "healthz", "metrics", "V1"]),
)
_strange_paths = st.builds(
    lambda root, write, words: root + b"/".join(map(write, words)),
    st.sampled_from([*[b"/"] * 5, b"/v1/", b"//", b"", b"http://localhost/", b"http://[::", b"*"]),
    _writers,
    st.lists(_words, max_size=5),
)


def _path(operation: Operation) -> SearchStrategy[bytes]:
    path = operation.path.encode()
    if b"{id}" not in path:
        return _broken(st.just(path))
    return _broken(
        st.builds(lambda write, ident: path.replace(b"{id}", write(ident)), _writers, _idents)
    )


def _query(takes: AllowedParameters) -> SearchStrategy[bytes]:
    return _broken(
        st.builds(
            lambda write, between, pairs: between.join(
                write(name) + b"=" + write(value) for name, value in pairs
            ),
            _writers,
            st.sampled_from([*[b"&"] * 9, b"&&", b";"]),
            parameters(takes),
        )
    )


_KNOWN = [st.tuples(_path(operation), _query(operation.takes)) for operation in OPERATIONS]
_collections = [
    target
    for operation, target in zip(OPERATIONS, _KNOWN, strict=True)
    if operation.takes.collection
]
_known_targets = st.one_of(*_KNOWN, *_collections, *_collections)
_strange_targets = st.tuples(_strange_paths, _query(AllowedParameters()))

# Headers.

_media = st.builds(
    lambda kind, more: kind + "".join(more),
    among(
        ["application/vnd.api+json", "application/json", "text/html", "text/event-stream", "*/*"],
        ["application/*", "text/plain", "application", "/", "*"],
    ),
    st.lists(
        among(
            [";q=0", ";q=0.5", ";q=1.001", ";q=x", "; q = 1", ';"q"=1', f';profile="{PROFILE}"'],
            [';profile=""', ';ext="x y"', ";ext=", ';ext="', ';a="\\"', ";", ";=", ";charset=x"],
        ),
        max_size=2,
    ),
)
_tags = st.lists(
    st.sampled_from(['"x"', 'W/"x"', "*", 'W/"', "x", '""', "W/W/", 'w/"x"', '"a,b"', ","]),
    max_size=4,
).map(", ".join)
_dates = among(
    ["Wed, 17 May 2017 10:06:36 GMT", "Wednesday, 17-May-17 10:06:36 GMT", "0"],
    ["Wed May 17 10:06:36 2017", "Wed, 17 May 9999 10:06:60 GMT", "Wed, 31 Feb 2017 10:06:36 GMT"],
    ["Sat, 00 Jan 0000 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"],
)
_hosts = among(
    ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "[::1", "example.org", "localhost:", ""],
    ["localhost:99999", "a" * 300, "localhost:8989:1", "user@localhost", "[fe80::1%25eth0]", "."],
    ["0x7f.1", "127.1", "[::ffff:127.0.0.1]", "localhost, localhost", "٣.localhost", "..", "[]"],
)
_traces = among(
    ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", f"00-{'0' * 32}-x-01", "ff", ""],
    ["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", "a=b,c=d", " ", "\x7f"],
)
_HEADERS: Mapping[str, SearchStrategy[str]] = {
    "Accept": st.lists(_media, max_size=3).map(", ".join),
    "Accept-Encoding": st.lists(
        st.sampled_from(["gzip", "identity;q=0", "*;q=0", "br", "x-gzip", "gzip;q=", ";q=1"]),
        max_size=3,
    ).map(",".join),
    "Content-Type": _media,
    "If-None-Match": _tags,
    "If-Match": _tags,
    "If-Modified-Since": _dates,
    "If-Unmodified-Since": _dates,
    "Host": _hosts,
    "Forwarded": among(
        ["for=192.0.2.1", 'for="[2001:db8::1]:4711";proto=https;host=localhost', "for=", ";;,,"],
        ["proto=gopher", 'host="a b"', 'for="\\', "by=_x;for=_y, for=127.0.0.1", "host=\x85"],
    ),
    "X-Forwarded-For": st.sampled_from(["192.0.2.1", "a, b,,", "127.0.0.1, [::1]:9", "%", ""]),
    "X-Forwarded-Proto": st.sampled_from(["https", "http,https", "gopher", ""]),
    "X-Forwarded-Host": _hosts,
    "X-Request-Id": st.sampled_from(["id-1", "a b", "x" * 200, "", "\x1b[31m", "é"]),
    "traceparent": _traces,
    "tracestate": _traces,
    "Authorization": st.sampled_from(["Basic", "Basic eA==", "Basic \xff", "Bearer a.b.c", ""]),
    "Range": st.sampled_from(["bytes=0-", "bytes=5-1", "bytes=-9,0-0", "x=1", "bytes=" + "9" * 99]),
    "Last-Event-ID": counts,
    "Expect": st.sampled_from(["100-continue", "200-ok"]),
    "Connection": st.sampled_from(["close", "keep-alive", "upgrade", "host"]),
    "Upgrade": st.sampled_from(["websocket", "h2c", "HTTP/2.0"]),
    "HTTP2-Settings": st.just("AAMAAABkAAQAAP__"),
    "TE": st.sampled_from(["trailers", "gzip;q=0.5"]),
    "Cookie": any_text,
    "Origin": st.sampled_from(["null", "http://example.org"]),
    "X-HTTP-Method-Override": st.sampled_from(["DELETE", "PUT"]),
}
_headers = st.lists(
    st.sampled_from(
        [st.tuples(st.just(name), slipped(values).map(_bytes)) for name, values in _HEADERS.items()]
    ).flatmap(lambda header: header),
    max_size=3,
)

# Requests.

_methods = among(
    [*["GET"] * 20, *["HEAD"] * 6, "OPTIONS", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"],
    ["TRACE", "CONNECT", "get", "X-Y"],
)
_LENGTHS = (b"+1", b"-1", b"1, 1", b"0x1", b"", b"9" * 30, b"1 1", "٣".encode())


@st.composite
def requests(draw: DrawFn) -> Request:
    """Draw a request: mostly for what exists, with one fault or several."""
    target, query = draw(_strange_targets if draw(rarely) else _known_targets)
    if query or draw(rarely):
        target += b"?" + query
    headers = draw(_headers)
    if draw(rarely) or not any(name == "Host" for name, _ in headers):
        headers.insert(0, ("Host", b"localhost:8989"))
    body, framed = b"", True
    if draw(rarely):
        body = draw(st.binary(max_size=40))
        match draw(st.integers(0, 3)):
            case 0:
                headers.append(("Transfer-Encoding", b"chunked"))
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            case 1:
                headers.append(("Content-Length", draw(st.sampled_from(_LENGTHS))))
                framed = False
            case _:
                headers.append(("Content-Length", b"%d" % len(body)))
    return Request(draw(_methods), target, tuple(headers), body, framed)
