"""The synchronous client of a core, for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
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
from sessiongate.client.reflector import SILENCE, Lost, silence
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

_Response = TypeVar("_Response")


class Client:
    """A channel to one core, which threads may share.

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
        read_ahead: int = DEFAULT_READ_AHEAD,
    ) -> None:
        """Prepare to call the core at ``address``; the arguments are described at `AsyncClient`."""
        options = channel_options(read_ahead)
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options=options)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=options)
        self._sessions = SessionServiceStub(self._channel)
        self._sources = SourceServiceStub(self._channel)
        self._history = HistoryServiceStub(self._channel)
        self._timeout = timeout
        self._token = token
        self._metadata = metadata
        self._is_closed = False

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
        """End the calls under way and close the channel."""
        self._is_closed = True
        self._channel.close()

    def list_sessions(
        self, request: ListSessionsRequest | None = None, *, timeout: float | None = None
    ) -> ListSessionsResponse:
        """Return one page of sessions."""
        return self._call(self._sessions.ListSessions, request or ListSessionsRequest(), timeout)

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
        return self._call(self._sessions.CountSessions, request, timeout)

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
        return self._call(self._sessions.GetSession, GetSessionRequest(id=session_id), timeout)

    def list_past_sessions(
        self, request: ListPastSessionsRequest | None = None, *, timeout: float | None = None
    ) -> ListPastSessionsResponse:
        """Return one page of past sessions, with what is not known of their time."""
        asked = request or ListPastSessionsRequest()
        return self._call(self._history.ListPastSessions, asked, timeout)

    def count_past_sessions(
        self, request: CountPastSessionsRequest, *, timeout: float | None = None
    ) -> CountPastSessionsResponse:
        """Return how many sessions were connected at each of some moments."""
        return self._call(self._history.CountPastSessions, request, timeout)

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
        return self._call(self._history.GetPastSession, request, timeout).session

    def terminate_session(
        self, request: acts.TerminateSessionRequest, *, timeout: float | None = None
    ) -> acts.TerminateSessionResponse:
        """End one session; by default, the timeout is longer by the request's max_wait."""
        limit = action_timeout(self._timeout, request) if timeout is None else timeout
        return self._call(action_stub(self._channel).TerminateSession, request, limit)

    def cancel_statement(
        self, request: acts.CancelStatementRequest, *, timeout: float | None = None
    ) -> acts.CancelStatementResponse:
        """Cancel the statement that a session runs; the timeout is as for ending it."""
        limit = action_timeout(self._timeout, request) if timeout is None else timeout
        return self._call(action_stub(self._channel).CancelStatement, request, limit)

    def list_sources(self, *, timeout: float | None = None) -> Sequence[Source]:
        """Return all sources, in the order of the core's configuration."""
        response = self._call(self._sources.ListSources, ListSourcesRequest(), timeout)
        return list(response.sources)

    def watch_sessions(
        self, request: WatchSessionsRequest | None = None
    ) -> Generator[WatchSessionsResponse]:
        """Yield the messages of one stream, which ends only with `CallError`: see `follow`.

        A core that is silent for `SILENCE` seconds ends it with DEADLINE_EXCEEDED.
        """
        metadata = self._sent()
        try:
            call = self._sessions.WatchSessions(
                request or WatchSessionsRequest(), wait_for_ready=False, metadata=metadata
            )
        except ValueError as error:
            raise self._failed(error) from None
        try:
            with _SilenceAlarm(call) as alarm:
                while True:
                    with alarm.listening():
                        message = next(call)
                    yield message
        except StopIteration:
            raise CallError(
                grpc.StatusCode.UNAVAILABLE, None, "the core ended the stream"
            ) from None
        except grpc.RpcError as error:
            raise silence() if alarm.rang else self._failed(error) from None
        finally:
            call.cancel()

    def follow(
        self, filter: SessionFilter | None = None, *, staleness: float = SILENCE
    ) -> Generator[Update]:
        """Keep a copy of the sessions that match and yield it at each step, until closed.

        Goes on through the core's failures: an update says that the core is ``lost``, and the
        copy stays as it was. Raises `CallError` if calling again cannot help. ``staleness``
        is the age in seconds that the copy is kept below if the connection allows.
        """
        copy = SessionCopy(filter, staleness=staleness)
        with closing(copy.reflector.follow_blocking(self.watch_sessions)) as events:
            for event in events:
                if self._is_closed:
                    return
                if isinstance(event, Lost) and event.is_vain:
                    raise event.error
                if (update := copy.take(event)) is not None:
                    yield update

    def _sent(self) -> list[tuple[str, str]]:
        return call_metadata(self._token, self._metadata)

    def _call(
        self, method: Callable[..., _Response], request: object, timeout: float | None
    ) -> _Response:
        limit = self._timeout if timeout is None else timeout
        metadata = self._sent()
        try:
            return method(request, timeout=limit, metadata=metadata)
        except (grpc.RpcError, ValueError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> Exception:
        """Return what to raise for an error of gRPC's, which is a ValueError once it is closed."""
        failure = call_error(error) if isinstance(error, grpc.RpcError) else error
        is_ended = not isinstance(failure, CallError) or failure.code is grpc.StatusCode.CANCELLED
        return ClosedError() if self._is_closed and is_ended else failure


class _SilenceAlarm:
    """Cancels a call that is silent while it is read; gRPC has no timeout for one message."""

    def __init__(self, call: Any) -> None:
        self.rang = False
        self._call = call
        self._deadline: float | None = None  # of the read under way
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Ring if this takes longer than `SILENCE`."""
        self._deadline = time.monotonic() + SILENCE
        try:
            yield
        finally:
            self._deadline = None

    def _run(self) -> None:
        while not self._ended.wait(SILENCE / 8):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                self.rang = True
                self._call.cancel()
                return
