"""The gRPC servicer of SessionService.

Its responses are already encoded, assembled from the table's pieces: an unchanged
session is not encoded again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial, wraps
from typing import Any, TypeVar

import grpc
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.errors import (
    CoreError,
    InternalError,
    InvalidRequestError,
    TooManyCallsError,
    Violation,
)
from sessiongate.core.grpc.hardened import cutter
from sessiongate.core.grpc.in_flight import SMALL_LIST, ListCharge, ListsInFlight
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.recent_lists import RecentLists
from sessiongate.core.grpc.snapshot_queue import SnapshotQueue
from sessiongate.core.grpc.status import abort
from sessiongate.core.grpc.stream_quota import StreamQuota, caller_of
from sessiongate.core.table.count_query import CountQuery
from sessiongate.core.table.encoding import field
from sessiongate.core.table.filter import RowFilter
from sessiongate.core.table.lookup import missing, settle
from sessiongate.core.table.query import SessionQuery
from sessiongate.core.table.table import MAX_PAGE_BYTES, Page, SessionTable
from sessiongate.core.table.watcher import EMPTY_PART, PROGRESS_INTERVAL, Watcher
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.turns import Steps, TooMuchWorkError, Turns, finished
from sessiongate.v1.session_service_pb2 import (
    DESCRIPTOR,
    CountSessionsRequest,
    GetSessionRequest,
    GetSessionResponse,
    ListSessionsRequest,
    ListSessionsResponse,
    WatchSessionsRequest,
)

log = logging.getLogger(__name__)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_T = TypeVar("_T")

# Lists, and steps of streams, that one caller may have in progress; what waits for its
# reader does not count.
MAX_UNDER_WAY = 256
# Seconds until a call is ended if its caller has not read the requested list, or made room
# for the next message of a stream.
STALL_TIMEOUT = 30.0
# Bytes of a request, and sessions of its page: less than half a millisecond of work.
_SHORT_REQUEST, _SHORT_PAGE = 1024, 1000
_GROUP_BYTES = 300  # of a group, while sessions are counted
_READ_TIME = ListSessionsResponse.READ_TIME_FIELD_NUMBER


def answering(
    method: Callable[[Any, _Request, CallContext], Awaitable[_Response]],
) -> Callable[[Any, _Request, CallContext], Awaitable[_Response]]:
    """Map a `CoreError` by `STATUS_MAPPINGS`, any other error to INTERNAL without its text."""

    @wraps(method)
    async def answered(self: Any, request: _Request, context: CallContext) -> _Response:
        try:
            return await method(self, request, context)
        except CoreError as error:
            await abort(context, error)
        except grpc.aio.InternalError:
            # The call itself has ended, which write may learn before its task is
            # cancelled. There is nobody to answer.
            raise asyncio.CancelledError from None
        except Exception:
            log.exception("%s failed", method.__name__)
            await abort(context, InternalError())

    return answered


class SessionService:
    """sessiongate.v1.SessionService over a `SessionTable`."""

    def __init__(
        self,
        table: SessionTable,
        watchers: StreamQuota,
        lookup: Callable[[int], Awaitable[CoreError]] | None = None,
    ) -> None:
        """``lookup`` returns the error for an id that the table does not have, if others may."""
        self._table = table
        self._lookup = lookup
        self._watchers = watchers
        self._turns = Turns(MAX_UNDER_WAY)
        self._in_flight, self._counts_in_flight = ListsInFlight(), ListsInFlight()
        self._recent = RecentLists(table)
        self._snapshots = SnapshotQueue()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve every method of the contract."""
        service = DESCRIPTOR.services_by_name["SessionService"]
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for method in service.methods:
            kind = (
                grpc.unary_stream_rpc_method_handler
                if method.server_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            # Without a serializer, responses are bytes.
            handlers[method.name] = kind(
                getattr(self, method.name),
                request_deserializer=GetMessageClass(method.input_type).FromString,
            )
        server.add_registered_method_handlers(service.full_name, handlers)

    @answering
    async def ListSessions(self, request: ListSessionsRequest, context: CallContext) -> bytes:
        answer = self._short(request)
        if answer is not None and len(answer) <= SMALL_LIST:
            return answer
        caller = caller_of(context)
        if answer is not None and (charge := self._in_flight.take_now(caller, len(answer))):
            release_once_taken(charge)
            return answer
        steps = _listed(self._table, request)
        return await self._answer(caller, self._in_flight, MAX_PAGE_BYTES, steps)

    async def _answer(
        self, caller: str, in_flight: ListsInFlight, most: int, steps: Steps[bytes]
    ) -> bytes:
        """Make a response, which takes ``most`` bytes at most, once there is room for it."""
        charge = await in_flight.take(caller, most)
        try:
            answer = await self._work(caller, steps)
        except BaseException:
            charge.release()
            raise
        charge.settle(len(answer))
        release_once_taken(charge)
        return answer

    def _short(self, request: ListSessionsRequest) -> bytes | None:
        """Return a list that is cheap enough to skip the queue; None if it is not."""
        if not _may_be_short(request):
            return None
        table, key = self._table, request.SerializeToString()
        settle(table)
        answer = self._recent.get(key)
        if answer is None:
            query = SessionQuery.parse(request)
            if not table.is_short(query):
                return None
            page = finished(table.page(query))
            page.rest.ClearField("read_time")
            answer = _encoded(page)
            self._recent.put(key, answer)
        return answer + field(_READ_TIME, table.moment().SerializeToString())

    @answering
    async def CountSessions(self, request: CountSessionsRequest, context: CallContext) -> bytes:
        caller = caller_of(context)
        # In the worst case, each session is a group of its own.
        most = MAX_PAGE_BYTES + _GROUP_BYTES * len(self._table)
        steps = _counted(self._table, request)
        return await self._answer(caller, self._counts_in_flight, most, steps)

    @answering
    async def GetSession(self, request: GetSessionRequest, context: CallContext) -> bytes:
        table = self._table
        if not request.id:
            raise InvalidRequestError(Violation("id", "must be at least 1"))
        settle(table)
        row = table.row(request.id)
        if row is None and self._lookup is not None:
            error = await self._lookup(request.id)
            row = table.row(request.id)  # it may have come meanwhile
            if row is None:
                raise error
        if row is None:
            raise missing(table, request.id)
        rest = GetSessionResponse(
            unreachable=table.unreachable,
            partial=table.partial,
            update_time=max(row.update_time, table.sources_time, key=_moment),
            read_time=table.moment(),
        )
        return row.piece + rest.SerializeToString()

    @answering
    async def WatchSessions(self, request: WatchSessionsRequest, context: CallContext) -> None:
        table = self._table
        if request.resume_revision:
            settle(table)
        caller = caller_of(context)
        work = partial(self._work, caller)
        wanted = await work(_wanted(request))
        with self._watchers.admitted(caller, request.filter.ByteSize()):
            watcher = Watcher(table, wanted, request.resume_revision, elapsed, work)
            async with aclosing(watcher.messages()) as messages:
                if not watcher.is_synced:
                    await self._begin(caller, watcher, messages, context)
                async for message in messages:
                    await send_message(context, message)

    async def _begin(
        self, caller: str, watcher: Watcher, messages: AsyncIterator[bytes], context: CallContext
    ) -> None:
        """Send a snapshot, or as much of it as others have to wait for."""
        with self._snapshots.slot(caller) as slot:
            while slot.is_held and not watcher.is_synced:
                while not await slot.is_granted(PROGRESS_INTERVAL):
                    await send_message(context, EMPTY_PART)
                message = await anext(messages)
                with slot.sending():
                    await send_message(context, message)

    async def _work(self, caller: str, steps: Steps[_T]) -> _T:
        """Run work in turns with that of others; return its result. Raises `TooManyCallsError`."""
        try:
            return await self._turns.run(caller, steps)
        except TooMuchWorkError:
            raise TooManyCallsError(
                f"{MAX_UNDER_WAY} calls are in progress; retry once one has ended",
                max_calls=str(MAX_UNDER_WAY),
            ) from None


async def send_message(context: CallContext, message: object) -> None:
    """Send a message of a stream; return once its reader has room for more."""
    try:
        async with asyncio.timeout(STALL_TIMEOUT):
            await context.write(message)
    except TimeoutError:
        cutter()()
        raise asyncio.CancelledError from None


def release_once_taken(charge: ListCharge) -> None:
    """Release a response's bytes once its caller has read it, or the time for that is over."""
    answering = asyncio.current_task()
    assert answering is not None  # noqa: S101 - this runs in one
    late = asyncio.get_running_loop().call_later(STALL_TIMEOUT, cutter())

    def done(_: object) -> None:
        late.cancel()
        charge.release()

    # Not through the context, whose callbacks hold the call.
    answering.add_done_callback(done)


def _listed(table: SessionTable, request: ListSessionsRequest) -> Steps[bytes]:
    settle(table)
    page = yield from table.page(SessionQuery.parse(request))
    yield
    return _encoded(page)


def _counted(table: SessionTable, request: CountSessionsRequest) -> Steps[bytes]:
    settle(table)
    return (yield from table.count(CountQuery.parse(request)))


def _encoded(page: Page) -> bytes:
    page.rest.next_page_token, page.rest.total_size = page.next_page_token, page.total_size
    return b"".join((*page.pieces, page.rest.SerializeToString()))


def _may_be_short(request: ListSessionsRequest) -> bool:
    """Return whether a list is cheap enough to skip the queue, unless it scans all sessions."""
    return (
        request.page_size <= _SHORT_PAGE
        and not request.HasField("read_mask")
        and request.ByteSize() <= _SHORT_REQUEST
    )


def _wanted(request: WatchSessionsRequest) -> Steps[RowFilter | None]:
    wanted = SessionQuery.parse(ListSessionsRequest(filter=request.filter)).matching
    if wanted is not None and wanted.depends_on_clock:
        raise InvalidRequestError(
            *(
                Violation(f"filter.{field}", "depends on the clock: list sessions instead")
                for field in ("min_idle", "min_activity_duration")
                if request.filter.HasField(field)
            )
        )
    return wanted
    yield


def _moment(time: Timestamp) -> tuple[int, int]:
    return time.seconds, time.nanos
