"""Responses to requests: validators, headers, compression, and how the body is sent."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import lru_cache, partial
from typing import Any, TypeAlias

from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.http.body_response import BodyResponse
from sessiongate.gateway.http.in_flight import SMALL, Body, Charge
from sessiongate.gateway.http.response_cache import Validity
from sessiongate.gateway.jsonapi.conditional import (
    NO_CONDITIONS,
    ETag,
    format_date,
    last_modified_of,
    unchanged,
    weak_etag,
)
from sessiongate.gateway.jsonapi.document import dump
from sessiongate.gateway.jsonapi.transfer import Parts
from sessiongate.gateway.upstream.version import Version

# Shorter bodies gain nothing from compression.
_WORTH_COMPRESSING = 500
_GZIP = 16 + zlib.MAX_WBITS

_Headers: TypeAlias = list[tuple[bytes, bytes]]

_NO_BODY = Body((b"",))
_VARY = (b"vary", b"Accept, Accept-Encoding")
_NO_STORE = (b"cache-control", b"no-store")
_REVALIDATE = (b"cache-control", b"private, no-cache")


def not_modified(request: ApiRequest, version: Version) -> Response | None:
    """Return 304 if the caller already has this version. Raises `RequestError` (412)."""
    if request.conditions is NO_CONDITIONS:
        return None
    now = request.context.now
    etag, modified = _etag(request, version), last_modified_of(version.changed, now)
    if not unchanged(request.conditions, etag, modified, now):
        return None
    headers = [_VARY, _REVALIDATE, *_validators(etag, modified)]
    return _offered(request, BodyResponse(304, headers, _NO_BODY), version)


def document_response(
    request: ApiRequest, members: Mapping[str, Any], version: Version | None
) -> Response:
    """Respond with a document that is not made of many sessions.

    ``version`` is None if the document has no validators, here and below.
    """
    return bytes_response(request, dump(members, pretty=request.query.pretty), version)


def bytes_response(request: ApiRequest, body: bytes, version: Version | None) -> Response:
    """Respond with a complete document. Raises `RequestError` if there is no room for it."""
    is_gzip = request.preferences.gzip and len(body) >= _WORTH_COMPRESSING
    if is_gzip:
        body = zlib.compress(body, level=1, wbits=_GZIP)
    charge = request.in_flight.take_now(len(body)) if len(body) > SMALL else None
    return body_response(request, Body((body,), charge, is_gzip=is_gzip), version)


def body_response(request: ApiRequest, body: Body, version: Version | None) -> Response:
    """Respond with a body that other responses may share."""
    headers = _headers(request, version, is_gzip=body.is_gzip)
    headers.append((b"content-length", b"%d" % body.size))
    response = BodyResponse(200, headers, _NO_BODY if request.is_head else body)
    return response if version is None else _offered(request, response, version)


def stream_response(
    request: ApiRequest, parts: AsyncGenerator[bytes], version: Version | None, charge: Charge
) -> Response:
    """Respond with a document in parts; ``charge`` is for one part at a time."""
    is_gzip = request.preferences.gzip
    headers = _headers(request, version, is_gzip=is_gzip)
    if request.is_head:
        return Parts(headers, _nothing(parts), charge)
    return Parts(headers, _gzipped(parts) if is_gzip else parts, charge)


async def collect(request: ApiRequest, parts: AsyncGenerator[bytes], charge: Charge) -> Body:
    """Collect all parts of a document, compressed if the request asks for that."""
    found: list[bytes] = []
    if not request.preferences.gzip:
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


def _offered(request: ApiRequest, response: BodyResponse, version: Version) -> BodyResponse:
    """Return a response after it was offered to be remembered, if that is wanted."""
    if request.remember is None:
        return response
    view, row = request.view, request.row
    reading = view.version if row is None else partial(view.held, row.id)
    found = version if row is None else (row, version)
    second = int(request.context.now)
    request.remember(response, Validity(view.state, request.began, reading, found, second))
    return response


def _headers(request: ApiRequest, version: Version | None, *, is_gzip: bool) -> _Headers:
    """Return the headers of a 200, except its length."""
    headers = [(b"content-type", request.preferences.content_type), _VARY]
    if version is None:
        headers.append(_NO_STORE)
    else:
        headers.append(_REVALIDATE)
        modified = last_modified_of(version.changed, request.context.now)
        headers += _validators(_etag(request, version), modified)
    if is_gzip:
        headers.append((b"content-encoding", b"gzip"))
    return headers


def _validators(etag: ETag, modified: int | None) -> _Headers:
    validators = [(b"etag", str(etag).encode())]
    if modified is not None:
        validators.append((b"last-modified", _date(modified)))
    return validators


def _etag(request: ApiRequest, version: Version) -> ETag:
    """Return the tag of the document made from this version."""
    fingerprint = request.fingerprint
    if version.gaps:
        gaps = "\0".join((*version.gaps.unreachable, "\0", *version.gaps.partial)).encode()
        fingerprint += b"\0" + gaps
    return weak_etag(version.revision, fingerprint, version.identity)


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
