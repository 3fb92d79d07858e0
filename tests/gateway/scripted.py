"""A core that does what a real one does not do on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from sessiongate.v1.session_pb2 import SESSION_STATE_STARTED, Session
from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    GetSessionResponse,
    ListSessionsRequest,
    ListSessionsResponse,
)
from sessiongate.v1.session_service_pb2_grpc import (
    SessionServiceServicer,
    add_SessionServiceServicer_to_server,
)

Response = TypeVar("Response")


@dataclass
class Failure:
    """An error to answer with; with a reason, an error that the core itself reports."""

    code: grpc.StatusCode
    reason: str = ""
    domain: str = "sessiongate"
    details: bytes | None = None  # instead of a well-formed google.rpc.Status

    @property
    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        details = self.details
        if details is None:
            packed = Any()
            packed.Pack(ErrorInfo(reason=self.reason, domain=self.domain))
            number: int = self.code.value[0]
            details = Status(code=number, details=[packed]).SerializeToString()
        return (("grpc-status-details-bin", details),)


class ScriptedCore(SessionServiceServicer):
    """Answers as its fields say, which a test may change at any time.

    A list is given page by page; the token of a page is its index.
    """

    def __init__(self) -> None:
        self.session: GetSessionResponse | Failure = GetSessionResponse(session=session(1))
        self.pages: Sequence[ListSessionsResponse | Failure] = [ListSessionsResponse()]
        self.silent_from: int | None = None  # the page that is never answered
        self.silent = False  # for single sessions
        self.calls = 0
        self.asked = threading.Event()  # set when an unanswered request arrives
        self.abandoned = threading.Event()  # set when its caller gives up

    def GetSession(
        self, request: GetSessionRequest, context: grpc.ServicerContext
    ) -> GetSessionResponse:
        self.calls += 1
        if self.silent:
            self._wait_for_end(context)
        return _answer(self.session, context)

    def ListSessions(
        self, request: ListSessionsRequest, context: grpc.ServicerContext
    ) -> ListSessionsResponse:
        self.calls += 1
        index = int(request.page_token or 0)
        if index == self.silent_from:
            self._wait_for_end(context)
        page = ListSessionsResponse()
        page.CopyFrom(_answer(self.pages[index], context))
        if index + 1 < len(self.pages):
            page.next_page_token = str(index + 1)
        return page

    def _wait_for_end(self, context: grpc.ServicerContext) -> None:
        ended = threading.Event()
        if context.add_callback(ended.set):
            self.asked.set()
            ended.wait()
        self.abandoned.set()


def _answer(answer: Response | Failure, context: grpc.ServicerContext) -> Response:
    if isinstance(answer, Failure):
        if answer.reason or answer.details is not None:
            context.set_trailing_metadata(answer.trailers)
        context.abort(answer.code, "text at 192.0.2.1:5432")
    assert not isinstance(answer, Failure)
    return answer


@contextmanager
def listening(core: ScriptedCore, address: str = "127.0.0.1:0") -> Iterator[str]:
    """Serve a scripted core; yield its address."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        server = grpc.server(pool, options=[("grpc.max_send_message_length", -1)])
        add_SessionServiceServicer_to_server(core, server)
        port = server.add_insecure_port(address)
        server.start()
        try:
            yield address if address.startswith("unix:") else f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


def session(ident: int, **fields: object) -> Session:
    """Make a session with only the fields that every session has."""
    made = Session(
        id=ident,
        source="test",
        service="app",
        state=SESSION_STATE_STARTED,
        **fields,  # type: ignore[arg-type]
    )
    made.connect_time.FromJsonString("2017-05-17T10:06:35Z")
    return made


def page(first: int, count: int, unreachable: Sequence[str] = ()) -> ListSessionsResponse:
    """Make a page of sessions with consecutive ids."""
    sessions = [session(ident) for ident in range(first, first + count)]
    return ListSessionsResponse(sessions=sessions, unreachable=unreachable)
