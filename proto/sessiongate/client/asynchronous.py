"""The asyncio client of a core."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import grpc

from sessiongate.client.asynchronous_channels import AsyncChannels
from sessiongate.client.channel import (
    ACTS,
    CALL_TIMEOUT,
    DEFAULT_READ_AHEAD,
    CoreStubs,
    Metadata,
    Sent,
    action_stub,
    action_timeout,
    call_metadata,
    fleet_stub,
)
from sessiongate.client.cores import SILENCE, Cores
from sessiongate.client.errors import CallError
from sessiongate.client.reflector import Lost
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
from sessiongate.v1.source_service_pb2 import ListSourcesRequest, Source

if TYPE_CHECKING:  # else imported when used
    from sessiongate.v1 import fleet_service_pb2 as fleet
    from sessiongate.v1 import session_action_service_pb2 as acts

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Method = Callable[[CoreStubs], Callable[..., Awaitable[_Response]]]


class AsyncClient:
    """Channels to a core, or to several; create it inside a running event loop.

    Each call ends within its timeout, with a response or with `CallError`. A call that finds
    no core is tried up to three times within that time, each time at all the cores.
    """

    def __init__(
        self,
        address: str | Iterable[str] | Cores = DEFAULT_ADDRESS,
        *,
        timeout: float = CALL_TIMEOUT,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | Callable[[], str] | None = None,
        metadata: Metadata | None = None,
        observe: Callable[[str, str, float], None] | None = None,
        read_ahead: int = DEFAULT_READ_AHEAD,
    ) -> None:
        """Prepare to call the core at ``address``, ``HOST:PORT`` or ``unix:PATH``.

        Of several addresses of one fleet, one is called at a time: see `Cores`. ``timeout`` is
        in seconds. ``credentials`` are for TLS, as from
        `grpc.ssl_channel_credentials`; without them, the connection is not encrypted. ``token``
        is a bearer token, or a function that returns the one for a call; ``metadata`` is a
        function that returns further metadata for a call. ``observe`` is called
        with the method, status code and seconds of each call that is not a stream.
        ``read_ahead`` is how many bytes of a stream are received before they are read.
        """
        self.cores = address if isinstance(address, Cores) else Cores.drawn(address)
        self._channels = AsyncChannels(self.cores, credentials, read_ahead)
        self._timeout = timeout
        self._token = token
        self._metadata = metadata
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
        """End the calls under way and close the channels."""
        await self._channels.close()

    async def list_sessions(
        self, request: ListSessionsRequest | None = None, *, timeout: float | None = None
    ) -> ListSessionsResponse:
        """Return one page of sessions."""
        return await self._call(
            lambda core: core.sessions.ListSessions, request or ListSessionsRequest(), timeout
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
        return await self._call(lambda core: core.sessions.CountSessions, request, timeout)

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
        return await self._call(lambda core: core.sessions.GetSession, request, timeout)

    async def list_past_sessions(
        self, request: ListPastSessionsRequest | None = None, *, timeout: float | None = None
    ) -> ListPastSessionsResponse:
        """Return one page of past sessions, with what is not known of their time."""
        asked = request or ListPastSessionsRequest()
        return await self._call(lambda core: core.history.ListPastSessions, asked, timeout)

    async def count_past_sessions(
        self, request: CountPastSessionsRequest, *, timeout: float | None = None
    ) -> CountPastSessionsResponse:
        """Return how many sessions were connected at each of some moments."""
        return await self._call(lambda core: core.history.CountPastSessions, request, timeout)

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
        response = await self._call(lambda core: core.history.GetPastSession, request, timeout)
        return response.session

    async def terminate_session(
        self, request: acts.TerminateSessionRequest, *, timeout: float | None = None
    ) -> acts.TerminateSessionResponse:
        """End one session; by default, the timeout is longer by the request's max_wait."""
        limit = action_timeout(self._timeout, request) if timeout is None else timeout
        return await self._call(
            lambda core: action_stub(core.channel).TerminateSession, request, limit
        )

    async def cancel_statement(
        self, request: acts.CancelStatementRequest, *, timeout: float | None = None
    ) -> acts.CancelStatementResponse:
        """Cancel the statement that a session runs; the timeout is as for ending it."""
        limit = action_timeout(self._timeout, request) if timeout is None else timeout
        return await self._call(
            lambda core: action_stub(core.channel).CancelStatement, request, limit
        )

    async def list_sources(self, *, timeout: float | None = None) -> Sequence[Source]:
        """Return all sources, in the order of the core's configuration."""
        response = await self._call(
            lambda core: core.sources.ListSources, ListSourcesRequest(), timeout
        )
        return list(response.sources)

    async def list_shards(self, *, timeout: float | None = None) -> fleet.ListShardsResponse:
        """Return who is in the fleet, as a front sees it; other cores do not know the call."""
        from sessiongate.v1.fleet_service_pb2 import ListShardsRequest

        return await self._call(
            lambda core: fleet_stub(core.channel).ListShards, ListShardsRequest(), timeout
        )

    def watch_sessions(
        self, request: WatchSessionsRequest | None = None
    ) -> AsyncGenerator[WatchSessionsResponse]:
        """Return the messages of one stream, which ends only with `CallError`: see `follow`.

        A core that is silent does not end it: each read needs a timeout of its own.
        """
        return self._channels.watch(request or WatchSessionsRequest(), self._sent())

    async def follow(
        self, filter: SessionFilter | None = None, *, staleness: float = SILENCE
    ) -> AsyncGenerator[Update]:
        """Keep a copy of the sessions that match and yield it at each step, until closed.

        Goes on through the core's failures: an update says that the core is ``lost``, and the
        copy stays as it was. Raises `CallError` if calling again cannot help. ``staleness``
        is the age in seconds that the copy is kept below if the connection allows.
        """
        copy = SessionCopy(filter, staleness=staleness, cores=self.cores)
        async with aclosing(copy.reflector.follow(self.watch_sessions)) as events:
            async for event in events:
                if self._channels.is_closed:
                    return
                if isinstance(event, Lost) and event.is_vain:
                    raise event.error
                if (update := copy.take(event)) is not None:
                    yield update

    def _sent(self) -> Sent:
        return call_metadata(self._token, self._metadata)

    async def _call(
        self, method: _Method[_Response], request: _Request, timeout: float | None
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
        self, method: _Method[_Response], request: _Request, timeout: float
    ) -> _Response:
        acts = type(request).__name__ in ACTS
        return await self._channels.call(method, request, timeout, self._sent(), acts=acts)
