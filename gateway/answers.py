"""From what a request asks to an answer: negotiated, validated, compressed."""

from __future__ import annotations

import time
import zlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.jsonapi.conditional import (
    Conditions,
    ETag,
    format_date,
    last_modified_of,
    unchanged,
    weak_etag,
)
from gateway.jsonapi.document import MEDIA_TYPE, dump
from gateway.jsonapi.negotiation import (
    JSON,
    Accepted,
    check_content_type,
    negotiate,
    negotiate_encoding,
)
from gateway.jsonapi.paging import PROFILE
from gateway.jsonapi.query import Query, Takes
from gateway.selection import Moment, depends_on_clock
from gateway.sessions import SessionView, Version

VARY = "Accept, Accept-Encoding"
# Shorter answers gain nothing from compression.
_WORTH_COMPRESSING = 500
_GZIP = 16 + zlib.MAX_WBITS
_CACHE_BYTES = 32 * 1024 * 1024
# Longer answers are not remembered: they would leave no room for others.
_CACHED_AT_MOST = _CACHE_BYTES // 2


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks for, and all that its answer depends on besides the sessions."""

    query: Query
    accepted: Accepted
    gzip: bool
    moment: Moment
    conditions: Conditions
    view: SessionView
    fingerprint: bytes  # equal for requests that equal sessions answer equally
    head: bool

    @classmethod
    def read(
        cls, request: Request, takes: Takes, offers: Sequence[str] = (MEDIA_TYPE, JSON)
    ) -> Ask:
        """Read a request. Raises `RequestError` with an error for each fault."""
        headers = request.headers
        profiles = (PROFILE,) if takes.collection else ()
        accepted = negotiate(headers.get("accept"), offers, profiles)
        gzip = negotiate_encoding(headers.get("accept-encoding")) == "gzip"
        check_content_type(headers.get("content-type"), body=False)
        query_string: bytes = request.scope["query_string"]
        base: str = request.state.base_url
        content_type = accepted.content_type()
        return cls(
            query=Query.parse(query_string, takes, by_cursor=PROFILE in accepted.profiles),
            accepted=accepted,
            gzip=gzip,
            moment=Moment(base, time.time()),
            conditions=Conditions.read(request.scope["headers"]),
            view=request.app.state.view,
            fingerprint=b"\0".join(
                (base.encode(), request.scope["raw_path"], query_string, content_type.encode())
            ),
            head=request.method == "HEAD",
        )

    @property
    def timeless(self) -> bool:
        """Whether equal sessions always answer this equally, but for what is idle."""
        return not depends_on_clock(self.query)

    def headers(self, version: Version | None) -> dict[str, str]:
        """The answer's headers but its length; ``version`` is None for what has none."""
        headers = {"Content-Type": self.accepted.content_type(), "Vary": VARY}
        if version is None:
            headers["Cache-Control"] = "no-store"
            return headers
        headers["Cache-Control"] = "private, no-cache"
        headers["ETag"] = str(self.etag(version))
        modified = last_modified_of(version.changed, self.moment.now)
        if modified is not None:
            headers["Last-Modified"] = format_date(modified)
        return headers

    def etag(self, version: Version) -> ETag:
        """The tag of the answer from what has this version."""
        sources = "\0".join(version.unreachable).encode()
        return weak_etag(version.revision, self.fingerprint + b"\0" + sources)

    def not_modified(self, version: Version) -> Response | None:
        """304, where the caller has this answer already. Raises `RequestError` (412)."""
        modified = last_modified_of(version.changed, self.moment.now)
        if not unchanged(self.conditions, self.etag(version), modified, self.moment.now):
            return None
        headers = self.headers(version)
        del headers["Content-Type"]
        return Response(status_code=304, headers=headers)

    def whole(self, body: bytes, version: Version | None) -> Response:
        """A document that is all here."""
        headers = self.headers(version)
        if self.gzip and len(body) >= _WORTH_COMPRESSING:
            body = zlib.compress(body, level=1, wbits=_GZIP)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    def document(self, members: Mapping[str, Any], version: Version | None) -> Response:
        """A document that is not made of many sessions."""
        return self.whole(dump(members, pretty=self.query.pretty), version)

    def streamed(self, parts: AsyncGenerator[bytes], version: Version | None) -> Response:
        """A document that comes in parts."""
        headers = self.headers(version)
        if self.gzip:
            headers["Content-Encoding"] = "gzip"
        body = _nothing(parts) if self.head else _gzipped(parts) if self.gzip else parts
        return StreamingResponse(body, headers=headers)


class Answers:
    """Documents that may be asked for again, as long as they stay right; bounded in bytes."""

    def __init__(self) -> None:
        self._documents: OrderedDict[tuple[bytes, Version, int], bytes] = OrderedDict()
        self._bytes = 0

    def get(self, ask: Ask, version: Version) -> bytes | None:
        """The document that was remembered for this question, this version and this second."""
        found = self._documents.get((ask.fingerprint, version, int(ask.moment.now)))
        if found is not None:
            self._documents.move_to_end((ask.fingerprint, version, int(ask.moment.now)))
        return found

    def remember(self, ask: Ask, version: Version, document: bytes) -> None:
        """Remember a document, and forget the ones not asked for longest."""
        if len(document) > _CACHED_AT_MOST:
            return
        self._documents[ask.fingerprint, version, int(ask.moment.now)] = document
        self._bytes += len(document)
        while self._bytes > _CACHE_BYTES:
            self._bytes -= len(self._documents.popitem(last=False)[1])


async def _gzipped(parts: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    compressor = zlib.compressobj(level=1, wbits=_GZIP)
    async for part in parts:
        compressed = compressor.compress(part)
        if compressed:
            yield compressed
    yield compressor.flush()


async def _nothing(parts: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    await parts.aclose()
    return
    yield
