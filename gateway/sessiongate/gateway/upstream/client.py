"""The gateway's client of the core: its credentials, and whose request it makes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sessiongate.client.asynchronous import AsyncClient
from sessiongate.client.channel import ACTS, DEFAULT_READ_AHEAD, CoreStubs
from sessiongate.client.cores import Cores
from sessiongate.client.errors import CallError, moved_on
from sessiongate.gateway.http.work import work_context
from sessiongate.runtime.auth.core_token import token_to_send
from sessiongate.runtime.auth.identity import caller_metadata
from sessiongate.runtime.telemetry.correlation import current
from sessiongate.runtime.tls import ClientTls, grpc_channel_credentials
from sessiongate.runtime.watched_file import in_time
from sessiongate.v1.errors import Reason
from sessiongate.v1.history_service_pb2 import CountPastSessionsRequest, ListPastSessionsRequest
from sessiongate.v1.service_names import SESSION_SERVICE
from sessiongate.v1.session_service_pb2 import CountSessionsRequest, ListSessionsRequest
from sessiongate.v1.source_service_pb2 import ListSourcesRequest

_Request = TypeVar("_Request")
_Listing = ListSessionsRequest | CountSessionsRequest
_OfPast = ListPastSessionsRequest | CountPastSessionsRequest
_Response = TypeVar("_Response")

# Calls in progress, except streams. The core answers one after the other: with 64 lists it answers
# no more a second than with 4, and some wait a second. Other calls do not wait for lists.
# Lists and counts of the past are read from a disk, beside the lists of the present. Actions wait
# until what they did is known.
_LISTS, _PASTS, _ACTIONS, _OTHERS = 4, 4, 16, 16
# Seconds that a request waits for the core to be called.
_PATIENCE = 2.0
# Bytes buffered unread per stream. Event streams number thousands, and their readers may stall.
EVENTS_AHEAD = 16 << 10


class CoreClient(AsyncClient):
    """Calls a core, or one of several. Sends the token, if there is one, and names the caller.

    Bounds the calls in progress; further ones wait in order. The first call of a request fails
    if it has to wait for long. The others wait as long as the request may take: its response
    may have begun.
    """

    def __init__(
        self,
        address: str | Iterable[str] | Cores,
        timeout: float,
        tls: ClientTls | None = None,
        token_file: Path | None = None,
        observe: Callable[[str, str, float], None] | None = None,
        ahead: int = DEFAULT_READ_AHEAD,
        basic: str | None = None,
        *,
        open_to_all: bool = False,
    ) -> None:
        """Prepare to call the core; the arguments are `AsyncClient`'s. Raises `FileError`.

        ``basic`` are Basic credentials, to send instead of a token. With ``open_to_all``, callers
        without credentials have the role of an operator.
        """
        credentials = None
        if tls is not None:
            credentials = in_time(lambda: grpc_channel_credentials(tls), *tls.files)
        super().__init__(
            address,
            timeout=timeout,
            credentials=credentials,
            token=None if token_file is None else token_to_send(token_file),
            metadata=partial(_request_metadata, basic, open_to_all),
            observe=observe,
            read_ahead=ahead,
        )
        self._checking: asyncio.Future[None] | None = None
        self._lists, self._others = asyncio.Semaphore(_LISTS), asyncio.Semaphore(_OTHERS)
        self._pasts, self._acts = asyncio.Semaphore(_PASTS), asyncio.Semaphore(_ACTIONS)

    async def check(self) -> None:
        """Raise `CallError` unless a core says that it can answer now.

        Waits for no other call. All who check at the same time share one call.
        """
        if self._checking is None or self._checking.done():
            self._checking = asyncio.ensure_future(self._check())
        await asyncio.shield(self._checking)

    async def ledger(self) -> str:
        """Return the name of the core's ledger; empty if it does not state it."""
        asked = ListSourcesRequest()
        answer = await super()._call(lambda core: core.sources.ListSources, asked, None)
        return str(answer.ledger)

    async def _check(self) -> None:
        request = HealthCheckRequest(service=SESSION_SERVICE)
        for _ in self.cores.addresses:
            position = self.cores.position
            answer = await super()._call(_health_check, request, None)
            if answer.status == HealthCheckResponse.SERVING:
                return
            self.cores.lose(position)
        text = "the core is not ready to answer yet"
        raise CallError(grpc.StatusCode.UNAVAILABLE, Reason.NOT_READY, text)

    async def _call(
        self,
        method: Callable[[CoreStubs], Callable[..., Awaitable[_Response]]],
        request: _Request,
        timeout: float | None,  # noqa: ASYNC109 - as in the method that this wraps
    ) -> _Response:
        places = self._others
        if isinstance(request, _Listing):
            places = self._lists
        elif isinstance(request, _OfPast):
            places = self._pasts
        elif type(request).__name__ in ACTS:
            places = self._acts
        await _take(places)
        try:
            return await super()._call(method, request, timeout)
        finally:
            places.release()


class OneCore:
    """Pages of one core: those of two show two states, whose versions cannot be compared."""

    def __init__(self, client: CoreClient) -> None:
        self._cores = client.cores
        self._position: int | None = None  # of the core that answered

    async def answer(
        self, method: Callable[[_Request], Awaitable[_Response]], request: _Request
    ) -> _Response:
        """Return a core's answer. Raises `CallError`, also if it would be another core's."""
        while True:
            before = self._cores.position
            answer = await method(request)
            now = self._cores.position
            if self._position is None and now != before:
                continue  # which core has answered is not known
            if self._position not in (None, now):
                raise moved_on()
            self._position = now
            return answer


def _health_check(core: CoreStubs) -> Any:
    stub: Any = HealthStub(core.channel)  # its methods have no types
    return stub.Check


async def _take(places: asyncio.Semaphore) -> None:
    """Take a place; release it after the call. Raises `CallError` if that takes too long."""
    whose = work_context.get()
    is_first = whose is None or not whose.has_asked_core
    try:
        async with asyncio.timeout(_PATIENCE if is_first else None):
            await places.acquire()
    except TimeoutError:
        text = "the core has not answered other requests yet; try again shortly"
        raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, "CORE_BUSY", text) from None
    if whose is not None:
        whose.has_asked_core = True


def _request_metadata(basic: str | None, open_to_all: bool) -> list[tuple[str, str]]:
    metadata = [] if basic is None else [("authorization", f"Basic {basic}")]
    whose = work_context.get()
    metadata += caller_metadata("" if whose is None else whose.address, open_to_all=open_to_all)
    if correlation := current.get():
        metadata += correlation.metadata()
    return metadata
