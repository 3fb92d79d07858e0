"""The gRPC servicer: decode, one call, encode."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc

from core.errors import (
    ANSWERS,
    STATUS_TRAILER,
    CoreError,
    InternalError,
    InvalidRequestError,
    NotReadyError,
    SessionNotFoundError,
    SourceUnreachableError,
    Violation,
    status_of,
)
from core.query import Query
from core.table import SessionTable
from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    GetSessionResponse,
    ListSessionsRequest,
    ListSessionsResponse,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceServicer

log = logging.getLogger(__name__)

Request = TypeVar("Request")
Response = TypeVar("Response")
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


def answering(
    method: Callable[[Any, Request, Context], Awaitable[Response]],
) -> Callable[[Any, Request, Context], Awaitable[Response]]:
    """Answer a `CoreError` as `ANSWERS` says, anything else as INTERNAL without its text."""

    @wraps(method)
    async def answered(self: Any, request: Request, context: Context) -> Response:
        try:
            return await method(self, request, context)
        except CoreError as error:
            await _abort(context, error)
        except Exception:
            log.exception("%s failed", method.__name__)
            await _abort(context, InternalError())

    return answered


async def _abort(context: Context, error: CoreError) -> NoReturn:
    details = status_of(error).SerializeToString()
    await context.abort(
        ANSWERS[type(error)].code, str(error), trailing_metadata=((STATUS_TRAILER, details),)
    )
    raise AssertionError("abort returned")


class SessionService(SessionServiceServicer):
    """sessiongate.v1.SessionService over a `SessionTable`."""

    def __init__(self, table: SessionTable) -> None:
        self._table = table

    @answering
    async def ListSessions(
        self, request: ListSessionsRequest, context: Context
    ) -> ListSessionsResponse:
        table = self._table
        _require_ready(table)
        page = table.page(Query.parse(request))
        return ListSessionsResponse(
            sessions=page.sessions,
            next_page_token=page.next_page_token,
            total_size=page.total_size,
            revision=table.revision,
            update_time=table.update_time,
            unreachable=table.unreachable,
        )

    @answering
    async def GetSession(self, request: GetSessionRequest, context: Context) -> GetSessionResponse:
        table = self._table
        if not request.id:
            raise InvalidRequestError(Violation("id", "must be 1 or more"))
        _require_ready(table)
        session = table.get(request.id)
        if session is None:
            raise _missing(table, request.id)
        return GetSessionResponse(session=session, unreachable=table.unreachable)


def _require_ready(table: SessionTable) -> None:
    if not table.ready.is_set():
        raise NotReadyError("not every source has answered or failed yet; try again shortly")


def _missing(table: SessionTable, ident: int) -> CoreError:
    source = table.unseen.get(ident)
    if source is not None:
        text = f"session {ident} belongs to the source {source!r}, which cannot be read just now"
        return SourceUnreachableError(text, source=source, id=str(ident))
    return SessionNotFoundError(f"{ident} is not a session", id=str(ident))
