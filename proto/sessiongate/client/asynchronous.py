"""The asyncio client of a core."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from sessiongate.client.channel import (
    CALL_TIMEOUT,
    DEFAULT_READ_AHEAD,
    Metadata,
    action_stub,
    action_timeout,
    call_metadata,
    channel_options,
)
from sessiongate.client.errors import CallError, ClosedError, call_error
from sessiongate.client.reflector import SILENCE, Lost
from sessiongate.client.session_copy import SessionCopy, Update
from sessiongate.v1.address import DEFAULT_ADDRESS
from sessiongate.v1.history_service_pb2 import (
    CountPastSessionsRequest,
    CountPastSessionsResponse,
    GetPastSessionRequest,
    ListPastSessionsRequest,
    ListPastSessionsResponse,
    PastSession,
    PastSessionFilter,
)
from sessiongate.v1.history_service_pb2_grpc import HistoryServiceStub
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    CountBy,
    CountSessionsRequest,
    CountSessionsResponse,
    GetSessionRequest,
    GetSessionResponse,
    ListSessionsRequest,
    ListSessionsResponse,
    SessionFilter,
    SessionGroup,
    WatchSessionsRequest,
    WatchSessionsResponse,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from sessiongate.v1.source_service_pb2 import ListSourcesRequest, Source
from sessiongate.v1.source_service_pb2_grpc import SourceServiceStub

if TYPE_CHECKING:  # else imported when used
    from sessiongate.v1 import session_action_service_pb2 as acts

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class AsyncClient:
    """A channel to one core; create it inside a running event loop.

    Each call ends within its timeout, with a response or with `CallError`. A call that finds
    no core is tried up to three times within that time.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = CALL_TIMEOUT,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | Callable[[], str] | None = None,
        metadata: Metadata | None = None,
        observe: Callable[[str, str, float], None] | None = None,
        read_ahead: int = DEFAULT_READ_AHEAD,
    ) -> None:
        """Prepare to call the core at ``address``, ``HOST:PORT`` or ``unix:PATH``.

        ``timeout`` is in seconds. ``credentials`` are for TLS, as from
        `grpc.ssl_channel_credentials`; without them, the connection is not encrypted. ``token``
        is a bearer token, or a function that returns the one for a call; ``metadata`` is a
        function that returns further metadata for a call. ``observe`` is called
        with the method, status code and seconds of each call that is not a stream.
        ``read_ahead`` is how many bytes of a stream are received before they are read.
        """
        options = channel_options(read_ahead)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=options)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=options)
        self._sessions = SessionServiceStub(self._channel)
        self._sources = SourceServiceStub(self._channel)
        self._history = HistoryServiceStub(self._channel)
        self._timeout = timeout
        self._token = token
        self._metadata = metadata
        self._is_closed = False
        self._observe = observe

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the calls under way and close the channel."""
        self._is_closed = True
        await self._channel.close()

    async def list_sessions(
        self, request: ListSessionsRequest | None = None, *, timeout: float | None = None
    ) -> ListSessionsResponse:
        """Return one page of sessions."""
        return await self._call(
            self._sessions.ListSessions, request or ListSessionsRequest(), timeout
        )

    async def pages(
        self, request: ListSessionsRequest | None = None, *, timeout: float | None = None
    ) -> AsyncGenerator[ListSessionsResponse]:
        """Yield a page and all that follow it; each has the timeout for itself."""
        asked = ListSessionsRequest()
        if request is not None:
            asked.CopyFrom(request)
        while True:
            page = await self.list_sessions(asked, timeout=timeout)
            yield page
            if not page.next_page_token:
                return
            asked.page_token, asked.skip = page.next_page_token, 0

    async def sessions(
        self, filter: SessionFilter | None = None, *, order_by: str = ""
    ) -> AsyncGenerator[Session]:
        """Yield all sessions that match, page by page."""
        async for page in self.pages(ListSessionsRequest(filter=filter, order_by=order_by)):
            for session in page.sessions:
                yield session

    async def count_sessions(
        self, request: CountSessionsRequest, *, timeout: float | None = None
    ) -> CountSessionsResponse:
        """Return one page of groups of sessions, with the size of each."""
        return await self._call(self._sessions.CountSessions, request, timeout)

    async def counts(
        self, by: Iterable[CountBy], filter: SessionFilter | None = None
    ) -> AsyncGenerator[SessionGroup]:
        """Yield the groups of all sessions that match, page by page: the largest first."""
        request = CountSessionsRequest(filter=filter, by=by)
        while True:
            page = await self.count_sessions(request)
            for group in page.groups:
                yield group
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def get_session(
        self, session_id: int, *, timeout: float | None = None
    ) -> GetSessionResponse:
        """Return one session."""
        request = GetSessionRequest(id=session_id)
        return await self._call(self._sessions.GetSession, request, timeout)

    async def list_past_sessions(
        self, request: ListPastSessionsRequest | None = None, *, timeout: float | None = None
    ) -> ListPastSessionsResponse:
        """Return one page of past sessions, with what is not known of their time."""
        asked = request or ListPastSessionsRequest()
        return await self._call(self._history.ListPastSessions, asked, timeout)

    async def count_past_sessions(
        self, request: CountPastSessionsRequest, *, timeout: float | None = None
    ) -> CountPastSessionsResponse:
        """Return how many sessions were connected at each of some moments."""
        return await self._call(self._history.CountPastSessions, request, timeout)

    async def past_pages(
        self, request: ListPastSessionsRequest | None = None
    ) -> AsyncGenerator[ListPastSessionsResponse]:
        """Yield all pages of past sessions from that of ``request`` on, each with the gaps."""
        asked = ListPastSessionsRequest()
        if request is not None:
            asked.CopyFrom(request)
        while True:
            page = await self.list_past_sessions(asked)
            yield page
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    async def past_sessions(
        self, filter: PastSessionFilter | None = None, *, order_by: str = ""
    ) -> AsyncGenerator[PastSession]:
        """Yield all past sessions that match, page by page."""
        request = ListPastSessionsRequest(filter=filter, order_by=order_by)
        async for page in self.past_pages(request):
            for session in page.sessions:
                yield session

    async def get_past_session(
        self, session_id: int, *, timeout: float | None = None
    ) -> PastSession:
        """Return one session, whether it has ended or not."""
        request = GetPastSessionRequest(id=session_id)
        response = await self._call(self._history.GetPastSession, request, timeout)
        return response.session

    async def terminate_session(
        self, request: acts.TerminateSessionRequest, *, timeout: float | None = None
    ) -> acts.TerminateSessionResponse:
        """End one session; by default, the timeout is longer by the request's max_wait."""
        limit = action_timeout(self._timeout, request) if timeout is None else timeout
        return await self._call(action_stub(self._channel).TerminateSession, request, limit)

    async def cancel_statement(
        self, request: acts.CancelStatementRequest, *, timeout: float | None = None
    ) -> acts.CancelStatementResponse:
        """Cancel the statement that a session runs; the timeout is as for ending it."""
        limit = action_timeout(self._timeout, request) if timeout is None else timeout
        return await self._call(action_stub(self._channel).CancelStatement, request, limit)

    async def list_sources(self, *, timeout: float | None = None) -> Sequence[Source]:
        """Return all sources, in the order of the core's configuration."""
        response = await self._call(self._sources.ListSources, ListSourcesRequest(), timeout)
        return list(response.sources)

    async def watch_sessions(
        self, request: WatchSessionsRequest | None = None
    ) -> AsyncGenerator[WatchSessionsResponse]:
        """Yield the messages of one stream, which ends only with `CallError`: see `follow`.

        A core that is silent does not end it: each read needs a timeout of its own.
        """
        metadata = self._sent()
        if self._is_closed:
            raise ClosedError
        call = self._sessions.WatchSessions(
            request or WatchSessionsRequest(), wait_for_ready=False, metadata=metadata
        )
        try:
            while (response := await _read(call)) is not grpc.aio.EOF:
                yield response
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from None
        except asyncio.CancelledError:
            raise self._cancelled() from None
        finally:
            call.cancel()
        raise CallError(grpc.StatusCode.UNAVAILABLE, None, "the core ended the stream")

    async def follow(
        self, filter: SessionFilter | None = None, *, staleness: float = SILENCE
    ) -> AsyncGenerator[Update]:
        """Keep a copy of the sessions that match and yield it at each step, until closed.

        Goes on through the core's failures: an update says that the core is ``lost``, and the
        copy stays as it was. Raises `CallError` if calling again cannot help. ``staleness``
        is the age in seconds that the copy is kept below if the connection allows.
        """
        copy = SessionCopy(filter, staleness=staleness)
        async with aclosing(copy.reflector.follow(self.watch_sessions)) as events:
            async for event in events:
                if self._is_closed:
                    return
                if isinstance(event, Lost) and event.is_vain:
                    raise event.error
                if (update := copy.take(event)) is not None:
                    yield update

    def _sent(self) -> list[tuple[str, str]]:
        return call_metadata(self._token, self._metadata)

    async def _call(
        self,
        method: Callable[..., Awaitable[_Response]],
        request: _Request,
        timeout: float | None,
    ) -> _Response:
        limit = self._timeout if timeout is None else timeout
        if self._observe is None:
            return await self._response(method, request, limit)
        code, began = "CANCELLED", time.perf_counter()
        try:
            response = await self._response(method, request, limit)
            code = "OK"
            return response
        except CallError as error:
            code = error.code.name
            raise
        finally:
            name = type(request).__name__.removesuffix("Request")
            self._observe(name, code, time.perf_counter() - began)

    async def _response(
        self, method: Callable[..., Awaitable[_Response]], request: _Request, timeout: float
    ) -> _Response:
        metadata = self._sent()
        if self._is_closed:
            raise ClosedError
        try:
            return await method(request, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from None
        except asyncio.CancelledError:
            raise self._cancelled() from None

    def _failed(self, error: grpc.aio.AioRpcError) -> CallError:
        is_ended = error.code() is grpc.StatusCode.CANCELLED
        return ClosedError() if self._is_closed and is_ended else call_error(error)

    def _cancelled(self) -> BaseException:
        """Return what a cancellation means: grpc also reports one if an end cancelled the call."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return asyncio.CancelledError()
        if self._is_closed:
            return ClosedError()
        return CallError(grpc.StatusCode.CANCELLED, None, "cancelled by the core")


async def _read(call: Any) -> Any:
    """Return the next message of a stream, or EOF.

    grpc releases what a read has allocated when the read ends, but never if it is
    cancelled (grpc/grpc#43360). So the call is cancelled, which ends the read.
    """
    reading = asyncio.ensure_future(call.read())
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        call.cancel()
        await asyncio.wait((reading,))
        if not reading.cancelled():
            reading.exception()  # no longer of interest
        raise
