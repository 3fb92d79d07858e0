"""From a request to its answer: negotiated, validated, compressed."""

from __future__ import annotations

import time
import zlib
from collections.abc import (
    AsyncGenerator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sessiongate.gateway.api.host_names import RDNS, Naming
from sessiongate.gateway.api.select import RenderContext, depends_on_clock
from sessiongate.gateway.http.in_flight import SMALL, Body, Charge, InFlight
from sessiongate.gateway.jsonapi.conditional import (
    NO_CONDITIONS,
    Conditions,
    ETag,
    format_date,
    last_modified_of,
    unchanged,
    weak_etag,
)
from sessiongate.gateway.jsonapi.document import MEDIA_TYPE, dump
from sessiongate.gateway.jsonapi.negotiation import (
    JSON,
    check_content_type,
    negotiate,
    negotiate_encoding,
)
from sessiongate.gateway.jsonapi.paging import PROFILE
from sessiongate.gateway.jsonapi.query import PLAIN, AllowedParameters, QueryParameters
from sessiongate.gateway.jsonapi.transfer import Parts
from sessiongate.gateway.upstream.views import SessionView, Version

OFFERS = (MEDIA_TYPE, JSON)
# Shorter answers gain nothing from compression.
_WORTH_COMPRESSING = 500
_GZIP = 16 + zlib.MAX_WBITS

Headers: TypeAlias = list[tuple[bytes, bytes]]

_NO_BODY = Body((b"",))
_VARY = (b"vary", b"Accept, Accept-Encoding")
_NO_STORE = (b"cache-control", b"no-store")
_REVALIDATE = (b"cache-control", b"private, no-cache")


class Preferences(NamedTuple):
    """What a request's query and headers ask for; the same for the same text."""

    query: QueryParameters
    media_type: str
    content_type: bytes  # of the answer: the media type, with the profiles applied
    gzip: bool
    plain: bool  # only the document itself is asked for
    timeless: bool  # equal sessions always give equal answers, except for ``idle``


@lru_cache(maxsize=512)
def read_preferences(
    takes: AllowedParameters,
    offers: Sequence[str],
    query_string: bytes,
    accept: str | None,
    accept_encoding: str | None,
    content_type: str | None,
) -> Preferences:
    """Read what a request asks for. Raises `RequestError` with an error for each fault."""
    accepted = negotiate(accept, offers, (PROFILE,) if takes.collection else ())
    gzip = negotiate_encoding(accept_encoding) == "gzip"
    check_content_type(content_type, body=False)
    query = QueryParameters.parse(query_string, takes, by_cursor=PROFILE in accepted.profiles)
    return Preferences(
        query,
        accepted.media_type,
        accepted.content_type().encode(),
        gzip,
        plain=query == PLAIN,
        # Names come from DNS, which does not announce changes.
        timeless=not depends_on_clock(query) and RDNS not in query.switches,
    )


@dataclass(slots=True)
class ApiRequest:
    """A request, and everything that its answer depends on besides the sessions."""

    wish: Preferences
    moment: RenderContext
    conditions: Conditions
    view: SessionView
    fingerprint: bytes  # equal for requests with equal answers from equal sessions
    head: bool
    in_flight: InFlight
    naming: Naming | None = None  # of clients' addresses, if asked for

    @classmethod
    def read(
        cls, request: Request, takes: AllowedParameters, offers: Sequence[str] = OFFERS
    ) -> ApiRequest:
        """Read a request. Raises `RequestError` with an error for each fault."""
        scope = request.scope
        accept = accept_encoding = content_type = None
        for name, value in scope["headers"]:
            if name == b"accept":
                accept = _joined(accept, value)
            elif name == b"accept-encoding":
                accept_encoding = _joined(accept_encoding, value)
            elif name == b"content-type":
                content_type = _joined(content_type, value)
        wish = read_preferences(
            takes, offers, scope["query_string"], accept, accept_encoding, content_type
        )
        base: str = scope["state"]["base_url"]
        return cls(
            wish,
            RenderContext(base, time.time()),
            Conditions.read(scope["headers"]),
            scope["app"].state.view,
            b"\0".join(
                (base.encode(), scope["raw_path"], scope["query_string"], wish.content_type)
            ),
            scope["method"] == "HEAD",
            scope["app"].state.in_flight,
            Naming(scope["app"].state.host_names) if RDNS in wish.query.switches else None,
        )

    @property
    def query(self) -> QueryParameters:
        """What the query string asks for."""
        return self.wish.query

    @property
    def timeless(self) -> bool:
        """Whether equal sessions always give equal answers, except for ``idle``."""
        return self.wish.timeless

    def headers(self, version: Version | None) -> Headers:
        """Return the answer's headers except its length; ``version`` is None if it has none."""
        headers = [(b"content-type", self.wish.content_type), _VARY]
        if version is None:
            headers.append(_NO_STORE)
        else:
            headers.append(_REVALIDATE)
            headers += self._validators(self.etag(version), version)
        return headers

    def _validators(self, etag: ETag, version: Version) -> Headers:
        validators = [(b"etag", str(etag).encode())]
        modified = last_modified_of(version.changed, self.moment.now)
        if modified is not None:
            validators.append((b"last-modified", _date(modified)))
        return validators

    def etag(self, version: Version) -> ETag:
        """Return the tag of the answer made from this version."""
        if not version.gaps:
            return weak_etag(version.revision, self.fingerprint)
        gaps = "\0".join((*version.gaps.unreachable, "\0", *version.gaps.partial)).encode()
        return weak_etag(version.revision, self.fingerprint + b"\0" + gaps)

    def not_modified(self, version: Version) -> Response | None:
        """Return 304 if the caller has this answer already. Raises `RequestError` (412)."""
        if self.conditions is NO_CONDITIONS:
            return None
        etag = self.etag(version)
        modified = last_modified_of(version.changed, self.moment.now)
        if not unchanged(self.conditions, etag, modified, self.moment.now):
            return None
        return RawResponse(304, [_VARY, _REVALIDATE, *self._validators(etag, version)], _NO_BODY)

    def document(self, members: Mapping[str, Any], version: Version | None) -> Response:
        """Answer with a document that is not made of many sessions."""
        return self.whole(dump(members, pretty=self.query.pretty), version)

    def whole(self, body: bytes, version: Version | None) -> Response:
        """Answer with a complete document. Raises `RequestError` if there is no room for it."""
        is_gzip = self.wish.gzip and len(body) >= _WORTH_COMPRESSING
        if is_gzip:
            body = zlib.compress(body, level=1, wbits=_GZIP)
        charge = self.in_flight.take_now(len(body)) if len(body) > SMALL else None
        return self.shared(Body((body,), charge, is_gzip=is_gzip), version)

    def shared(self, body: Body, version: Version | None) -> Response:
        """Answer with a document that others may be sent, too."""
        headers = self.headers(version)
        if body.is_gzip:
            headers.append((b"content-encoding", b"gzip"))
        headers.append((b"content-length", b"%d" % body.size))
        return RawResponse(200, headers, _NO_BODY if self.head else body)

    async def body(self, parts: AsyncGenerator[bytes], charge: Charge) -> Body:
        """Collect all parts of a document, compressed if the request wants that."""
        found: list[bytes] = []
        if not self.wish.gzip:
            async for part in parts:
                found.append(part)
            return Body(found, charge)
        size = 0
        plain: list[bytes] = []

        async def counted() -> AsyncGenerator[bytes]:
            nonlocal size
            async for part in parts:
                size += len(part)
                if size < _WORTH_COMPRESSING:
                    plain.append(part)
                yield part

        async for part in _gzipped(counted()):
            found.append(part)
        if size < _WORTH_COMPRESSING:
            return Body(plain, charge)
        return Body(found, charge, is_gzip=True)

    def streamed(
        self, parts: AsyncGenerator[bytes], version: Version | None, charge: Charge
    ) -> Response:
        """Stream a document in parts; ``charge`` is for one part at a time."""
        headers = self.headers(version)
        if self.wish.gzip:
            headers.append((b"content-encoding", b"gzip"))
        body = _nothing(parts) if self.head else _gzipped(parts) if self.wish.gzip else parts
        return Parts(headers, body, charge)


class RawResponse(Response):
    """A response whose headers are already encoded."""

    def __init__(self, status: int, headers: Headers, body: Body) -> None:
        # Does not call the base class: all that it would work out is here.
        self.status_code = status
        self._body = body
        self.raw_headers = headers
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        *parts, last = self._body.parts
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": last})


def _joined(before: str | None, value: bytes) -> str:
    text = value.decode("latin-1")
    return text if before is None else f"{before}, {text}"


@lru_cache(maxsize=64)
def _date(seconds: int) -> bytes:
    return format_date(seconds).encode()


async def _gzipped(parts: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    compressor = zlib.compressobj(level=1, wbits=_GZIP)
    async with aclosing(parts):
        async for part in parts:
            compressed = compressor.compress(part)
            if compressed:
                yield compressed
    yield compressor.flush()


async def _nothing(parts: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    await parts.aclose()
    return
    yield
