"""The gRPC servicer of HistoryService."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

from sessiongate.core.errors import (
    InvalidRequestError,
    LedgerUnavailableError,
    SessionNotFoundError,
    Violation,
)
from sessiongate.core.grpc.in_flight import ListsInFlight
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.service import answering, release_once_taken, send_message
from sessiongate.core.grpc.stream_quota import caller_of
from sessiongate.core.history.counts import PastCountsQuery
from sessiongate.core.history.history import PAGE_BYTES, History, PastPage
from sessiongate.core.history.query import PastQuery
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.v1.history_service_pb2 import (
    CountPastSessionsRequest,
    CountPastSessionsResponse,
    ExportPastSessionsRequest,
    ExportPastSessionsResponse,
    GetPastSessionRequest,
    GetPastSessionResponse,
    ListPastSessionsRequest,
    ListPastSessionsResponse,
)
from sessiongate.v1.history_service_pb2_grpc import HistoryServiceServicer

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_UNREADABLE = "the core cannot read its ledger now; its log has the cause; try again later"


class HistoryService(HistoryServiceServicer):
    """sessiongate.v1.HistoryService over a `History`."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._in_flight = ListsInFlight()

    @answering
    async def ListPastSessions(
        self, request: ListPastSessionsRequest, context: CallContext
    ) -> ListPastSessionsResponse:
        query = PastQuery.parse(request, self._history.now())
        charge = await self._in_flight.take(caller_of(context), PAGE_BYTES)
        try:
            page = await _read(self._history.page(query))
            response = ListPastSessionsResponse(
                sessions=page.sessions,
                next_page_token=_token(query, page),
                gaps=[gap.message() for gap in page.gaps],
            )
        except BaseException:
            charge.release()
            raise
        response.as_of_time.FromNanoseconds(query.selector.as_of)
        charge.settle(response.ByteSize())
        release_once_taken(charge)
        return response

    @answering
    async def GetPastSession(
        self, request: GetPastSessionRequest, context: CallContext
    ) -> GetPastSessionResponse:
        if not request.id:
            raise InvalidRequestError(Violation("id", "must be at least 1"))
        found = await _read(self._history.one(request.id))
        if found is None:
            text = f"no session with id {request.id} is remembered"
            raise SessionNotFoundError(text, id=str(request.id))
        return GetPastSessionResponse(session=found)

    @answering
    async def CountPastSessions(
        self, request: CountPastSessionsRequest, context: CallContext
    ) -> CountPastSessionsResponse:
        now = self._history.now()
        query = PastCountsQuery.parse(request, now)
        counts, gaps = await _read(self._history.counts(query))
        response = CountPastSessionsResponse(
            total_counts=counts.total,
            groups=counts.largest(query.max_groups) if query.column is not None else (),
            gaps=[gap.message() for gap in gaps],
        )
        for index in range(query.moments.number):
            response.times.add().FromNanoseconds(query.moments[index])
        response.as_of_time.FromNanoseconds(now)
        return response

    @answering
    async def ExportPastSessions(
        self, request: ExportPastSessionsRequest, context: CallContext
    ) -> None:
        query = PastQuery.parse(request, self._history.now())
        gaps = True
        while True:
            page = await _read(self._history.page(query))
            part = ExportPastSessionsResponse(sessions=page.sessions)
            part.as_of_time.FromNanoseconds(query.selector.as_of)
            if gaps:
                part.gaps.extend(gap.message() for gap in page.gaps)
                gaps = False
            await send_message(context, part)
            if page.following is None:
                return
            query = replace(query, after=page.following)


async def _read(reading: Awaitable[_T]) -> _T:
    """Return what was read from the ledger. Raises `LedgerUnavailableError`.

    Only the log has the cause, which names the ledger's path.
    """
    try:
        return await reading
    except LedgerError as error:
        log.error("history cannot be read: %s", error)
        raise LedgerUnavailableError(_UNREADABLE) from None


def _token(query: PastQuery, page: PastPage) -> str:
    return "" if page.following is None else query.token(page.following)
