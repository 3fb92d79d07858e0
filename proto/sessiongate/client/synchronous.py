"""The synchronous client of a core, for threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import grpc

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
from sessiongate.client.reflector import Lost
from sessiongate.client.session_copy import SessionCopy, Update
from sessiongate.client.synchronous_channels import Channels
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

_Response = TypeVar("_Response")
_Method = Callable[[CoreStubs], Callable[..., _Response]]


class Client:
    """Channels to a core, or to several, which threads may share.

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
        read_ahead: int = DEFAULT_READ_AHEAD,
    ) -> None:
        """Prepare to call the core at ``address``; the arguments are described at `AsyncClient`."""
        self.cores = address if isinstance(address, Cores) else Cores.drawn(address)
        self._channels = Channels(self.cores, credentials, read_ahead)
        self._timeout = timeout
        self._token = token
        self._metadata = metadata

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the calls under way and close the channels."""
        self._channels.close()

    def list_sessions(
        self, request: ListSessionsRequest | None = None, *, timeout: float | None = None
    ) -> ListSessionsResponse:
        """Return one page of sessions."""
        return self._call(
            lambda core: core.sessions.ListSessions, request or ListSessionsRequest(), timeout
        )

    def pages(
        self, request: ListSessionsRequest | None = None, *, timeout: float | None = None
    ) -> Iterator[ListSessionsResponse]:
        """Yield a page and all that follow it; each has the timeout for itself."""
        asked = ListSessionsRequest()
        if request is not None:
            asked.CopyFrom(request)
        while True:
            page = self.list_sessions(asked, timeout=timeout)
            yield page
            if not page.next_page_token:
                return
            asked.page_token, asked.skip = page.next_page_token, 0

    def sessions(
        self, filter: SessionFilter | None = None, *, order_by: str = ""
    ) -> Iterator[Session]:
        """Yield all sessions that match, page by page."""
        for page in self.pages(ListSessionsRequest(filter=filter, order_by=order_by)):
            yield from page.sessions

    def count_sessions(
        self, request: CountSessionsRequest, *, timeout: float | None = None
    ) -> CountSessionsResponse:
        """Return one page of groups of sessions, with the size of each."""
        return self._call(lambda core: core.sessions.CountSessions, request, timeout)

    def counts(
        self, by: Iterable[CountBy], filter: SessionFilter | None = None
    ) -> Iterator[SessionGroup]:
        """Yield the groups of all sessions that match, page by page: the largest first."""
        request = CountSessionsRequest(filter=filter, by=by)
        while True:
            page = self.count_sessions(request)
            yield from page.groups
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def get_session(self, session_id: int, *, timeout: float | None = None) -> GetSessionResponse:
        """Return one session."""
        return self._call(
            lambda core: core.sessions.GetSession, GetSessionRequest(id=session_id), timeout
        )

    def list_past_sessions(
        self, request: ListPastSessionsRequest | None = None, *, timeout: float | None = None
    ) -> ListPastSessionsResponse:
        """Return one page of past sessions, with what is not known of their time."""
        asked = request or ListPastSessionsRequest()
        return self._call(lambda core: core.history.ListPastSessions, asked, timeout)

    def count_past_sessions(
        self, request: CountPastSessionsRequest, *, timeout: float | None = None
    ) -> CountPastSessionsResponse:
        """Return how many sessions were connected at each of some moments."""
        return self._call(lambda core: core.history.CountPastSessions, request, timeout)

    def past_pages(
        self, request: ListPastSessionsRequest | None = None
    ) -> Iterator[ListPastSessionsResponse]:
        """Yield all pages of past sessions from that of ``request`` on, each with the gaps."""
        asked = ListPastSessionsRequest()
        if request is not None:
            asked.CopyFrom(request)
        while True:
            page = self.list_past_sessions(asked)
            yield page
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    def past_sessions(
        self, filter: PastSessionFilter | None = None, *, order_by: str = ""
    ) -> Iterator[PastSession]:
        """Yield all past sessions that match, page by page."""
        request = ListPastSessionsRequest(filter=filter, order_by=order_by)
        for page in self.past_pages(request):
            yield from page.sessions

    def get_past_session(self, session_id: int, *, timeout: float | None = None) -> PastSession:
        """Return one session, whether it has ended or not."""
        request = GetPastSessionRequest(id=session_id)
        return self._call(lambda core: core.history.GetPastSession, request, timeout).session

    def terminate_session(
        self, request: acts.TerminateSessionRequest, *, timeout: float | None = None
    ) -> acts.TerminateSessionResponse:
        """End one session; by default, the timeout is longer by the request's max_wait."""
        limit = action_timeout(self._timeout, request) if timeout is None else timeout
        return self._call(lambda core: action_stub(core.channel).TerminateSession, request, limit)

    def cancel_statement(
        self, request: acts.CancelStatementRequest, *, timeout: float | None = None
    ) -> acts.CancelStatementResponse:
        """Cancel the statement that a session runs; the timeout is as for ending it."""
        limit = action_timeout(self._timeout, request) if timeout is None else timeout
        return self._call(lambda core: action_stub(core.channel).CancelStatement, request, limit)

    def list_sources(self, *, timeout: float | None = None) -> Sequence[Source]:
        """Return all sources, in the order of the core's configuration."""
        response = self._call(lambda core: core.sources.ListSources, ListSourcesRequest(), timeout)
        return list(response.sources)

    def list_shards(self, *, timeout: float | None = None) -> fleet.ListShardsResponse:
        """Return who is in the fleet, as a front sees it; other cores do not know the call."""
        from sessiongate.v1.fleet_service_pb2 import ListShardsRequest

        return self._call(
            lambda core: fleet_stub(core.channel).ListShards, ListShardsRequest(), timeout
        )

    def watch_sessions(
        self, request: WatchSessionsRequest | None = None
    ) -> Generator[WatchSessionsResponse]:
        """Return the messages of one stream, which ends only with `CallError`: see `follow`.

        A core that is silent for `SILENCE` seconds ends it with DEADLINE_EXCEEDED.
        """
        return self._channels.watch(request or WatchSessionsRequest(), self._sent())

    def follow(
        self, filter: SessionFilter | None = None, *, staleness: float = SILENCE
    ) -> Generator[Update]:
        """Keep a copy of the sessions that match and yield it at each step, until closed.

        Goes on through the core's failures: an update says that the core is ``lost``, and the
        copy stays as it was. Raises `CallError` if calling again cannot help. ``staleness``
        is the age in seconds that the copy is kept below if the connection allows.
        """
        copy = SessionCopy(filter, staleness=staleness, cores=self.cores)
        with closing(copy.reflector.follow_blocking(self.watch_sessions)) as events:
            for event in events:
                if self._channels.is_closed:
                    return
                if isinstance(event, Lost) and event.is_vain:
                    raise event.error
                if (update := copy.take(event)) is not None:
                    yield update

    def _sent(self) -> Sent:
        return call_metadata(self._token, self._metadata)

    def _call(
        self, method: _Method[_Response], request: object, timeout: float | None
    ) -> _Response:
        limit = self._timeout if timeout is None else timeout
        acts = type(request).__name__ in ACTS
        return self._channels.call(method, request, limit, self._sent(), acts=acts)
