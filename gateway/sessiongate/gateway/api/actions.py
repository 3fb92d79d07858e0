"""The handlers of what acts on sessions. Who may, and on which, is for the core to decide."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from starlette.responses import Response

from sessiongate.client.errors import CallError
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.sessions import requested_id, with_history
from sessiongate.gateway.errors import error_of
from sessiongate.gateway.http.same_origin import refuse_other_origins
from sessiongate.gateway.jsonapi.conditional import parse_etags, revisions_of
from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.jsonapi.parameters import invalid
from sessiongate.gateway.representation.session import session_url
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.suggestion import quoted_name
from sessiongate.v1.errors import Reason
from sessiongate.v1.session_action_service_pb2 import (
    CancelStatementRequest,
    CancelStatementResponse,
    TerminateSessionRequest,
    TerminateSessionResponse,
)

_Act: TypeAlias = Callable[
    [CoreClient, Duration], Awaitable[TerminateSessionResponse | CancelStatementResponse]
]

TTL = "ttl"  # the grace before a session is ended, as MaxScale calls it
MAX_TTL = 3600  # seconds

_TTL = re.compile(r"[0-9]{1,4}")
_WAIT = 5.0  # seconds until it has to be known what became of it
_LEARNT = 0.5  # of these, seconds for this worker to learn it
_LINKED = 10  # other ends that are named in each direction: proxies bound the bytes of headers
# Headers of conditions that are not evaluated here.
_UNSUITABLE = {name.lower().encode(): name for name in ("If-None-Match", "If-Unmodified-Since")}
# The core may have acted, although it did not say so: the reasons, and the gRPC statuses.
_UNCERTAIN = frozenset((None, Reason.INTERNAL, Reason.SHUTTING_DOWN))
_UNCERTAIN_CODES = frozenset(
    (
        *(grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED),
        *(grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE),
    )
)


async def terminate_session(request: ApiRequest) -> Response:
    """Answer DELETE of ``/v1/sessions/{id}``."""
    _refuse_unsuitable(request)
    ident, grace = requested_id(request), _grace(request)

    async def act(core: CoreClient, max_wait: Duration) -> TerminateSessionResponse:
        call = TerminateSessionRequest(id=ident, grace=grace, max_wait=max_wait)
        if seen := await _seen(request, ident):
            _, call.identity_revision = seen
        return await core.terminate_session(call)

    return await _response(request, ident, act)


async def cancel_statement(request: ApiRequest) -> Response:
    """Answer POST of ``/v1/sessions/{id}/cancel``."""
    _refuse_unsuitable(request)
    ident = requested_id(request)

    async def act(core: CoreClient, max_wait: Duration) -> CancelStatementResponse:
        call = CancelStatementRequest(id=ident, max_wait=max_wait)
        if seen := await _seen(request, ident):
            call.revision, call.identity_revision = seen
        return await core.cancel_statement(call)

    return await _response(request, ident, act)


async def _response(request: ApiRequest, ident: int, act: _Act) -> Response:
    """Act; respond with what is known of that after `_WAIT` seconds at most."""
    wait = min(_WAIT, request.state.limits.request_timeout / 2)
    until = elapsed() + wait
    max_wait = Duration()
    max_wait.FromMilliseconds(round(max(wait - _LEARNT, wait / 2) * 1000))
    try:
        result = await act(request.state.core, max_wait)
    except CallError as error:
        raise _refusal(request, ident, error) from error
    is_known = result.ended
    if is_known:  # from now on, this worker must show it
        try:
            async with asyncio.timeout(max(0.0, until - elapsed())):
                await request.view.reach(result.revision)
        except TimeoutError:
            is_known = False
    base = request.context.base
    response = Response(status_code=204 if is_known else 202, headers={"Cache-Control": "no-store"})
    if not is_known:
        response.headers["Location"] = session_url(base, ident)
    for name, idents in (("upstream", result.upstream_ids), ("downstream", result.downstream_ids)):
        for other in idents[:_LINKED]:
            url = session_url(base, other)
            response.headers.append("Link", f'<{url}>; rel="related"; title="{name}"')
    return response


def _refusal(request: ApiRequest, ident: int, error: CallError) -> Exception:
    """Return the error to answer with."""
    found = error_of(error)
    if error.reason in _UNCERTAIN and error.code in _UNCERTAIN_CODES:
        detail = f"{found.detail}: it may have been done or not; look at the session again"
        return RequestError(replace(found, detail=detail))
    if error.reason == Reason.SESSION_CHANGED and _names_tags(request):
        return RequestError(replace(found, status=412, header="If-Match"))
    return with_history(request, ident, error)


def _refuse_unsuitable(request: ApiRequest) -> None:
    """Raise `RequestError` for a request that its caller may not have intended."""
    refuse_other_origins(request.scope)
    content_type = None
    for name, value in request.scope["headers"]:
        text = value.decode("latin-1")
        if name == b"transfer-encoding":
            raise RequestError(Error(411, "LENGTH_REQUIRED", "a body requires Content-Length"))
        if name == b"content-length" and text.strip("0"):
            raise RequestError(Error(413, "BODY_TOO_LARGE", "the request must have no body"))
        if name == b"content-type":
            content_type = text.partition(";")[0].strip().lower()
        if name in _UNSUITABLE:
            header = _UNSUITABLE[name]
            detail = f"{header} is not evaluated here; use If-Match"
            raise RequestError(Error(400, "INVALID_HEADER", detail, header=header))
    if request.scope["method"] == "POST" and content_type != MEDIA_TYPE:
        detail = f"Content-Type must be {MEDIA_TYPE}"
        raise RequestError(Error(415, "UNSUPPORTED_MEDIA_TYPE", detail, header="Content-Type"))


def _grace(request: ApiRequest) -> Duration | None:
    """Return the grace that is asked for, if any. Raises `RequestError`."""
    text = request.query.texts.get(TTL)
    if text is None:
        return None
    if not _TTL.fullmatch(text) or int(text) > MAX_TTL:
        got = quoted_name(text)
        raise invalid(TTL, f"{TTL} must be an integer from 0 to {MAX_TTL}, in seconds, got {got}")
    return Duration(seconds=int(text))


async def _seen(request: ApiRequest, ident: int) -> tuple[int, int] | None:
    """Return the revisions of the session that the caller has seen; None if it does not say.

    The core compares them, so that it knows of each attempt. Of several tags, the one that may
    be right is sent on; a tag that says nothing of a session is sent on as one that never is.
    """
    if not _names_tags(request):
        return None
    header = request.conditions.if_match or ""
    tags = [found for tag in parse_etags(header) if (found := revisions_of(tag))]
    if len(tags) > 1:
        with suppress(CallError):  # the core says what is wrong
            _, now = await request.view.get(ident)
            tags.sort(key=lambda tag: (tag[1] == now.identity, tag[0] == now.revision))
    return tags[-1] if tags else (0, 0)


def _names_tags(request: ApiRequest) -> bool:
    """Return whether the caller says what it has seen; ``*`` does not."""
    header = request.conditions.if_match
    return header is not None and header.strip() != "*"
