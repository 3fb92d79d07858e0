"""The client of the core: the only place that opens a channel to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sessiongate.runtime.auth.core_token import read_core_tokens
from sessiongate.runtime.auth.identity import CALLER_METADATA, caller
from sessiongate.runtime.telemetry.correlation import current
from sessiongate.runtime.tls import ClientTls, grpc_channel_credentials
from sessiongate.runtime.watched_file import WatchedFile, in_time
from sessiongate.v1 import session_service_pb2, source_service_pb2
from sessiongate.v1.errors import ERROR_DOMAIN, STATUS_TRAILER
from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    GetSessionResponse,
    ListSessionsRequest,
    ListSessionsResponse,
    WatchSessionsRequest,
    WatchSessionsResponse,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from sessiongate.v1.source_service_pb2 import ListSourcesRequest, Source
from sessiongate.v1.source_service_pb2_grpc import SourceServiceStub

# The contract keeps a page under 3 MiB, so this, gRPC's own default, is large enough.
MAX_MESSAGE_BYTES = 4 << 20

_SESSIONS = session_service_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name
_SOURCES = source_service_pb2.DESCRIPTOR.services_by_name["SourceService"].full_name

# Only reads, so retrying is safe. All attempts share the call's one deadline.
_RETRIES = {
    "name": [
        {"service": _SESSIONS, "method": "ListSessions"},
        {"service": _SESSIONS, "method": "GetSession"},
        {"service": _SOURCES, "method": "ListSources"},
    ],
    "retryPolicy": {
        "maxAttempts": 3,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    },
}

# Every stream of events is a call. When one connection has as many as the core allows,
# gRPC opens another (gRFC A105).
_CONNECTIONS = 1000

_SERVICE_CONFIG = {
    "methodConfig": [_RETRIES],
    "connectionScaling": {"maxConnectionsPerSubchannel": _CONNECTIONS},
}

_OPTIONS = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_connections_per_subchannel_cap", _CONNECTIONS),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Finds a core that is back within a second, however long it was away.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # The core is a neighbour: never call it through the proxy in http_proxy.
    ("grpc.enable_http_proxy", 0),
    # Fixes how much of a stream is buffered unread; gRPC would grow it with bandwidth.
    ("grpc.http2.bdp_probe", 0),
]
# Bytes buffered unread per stream. Event streams number thousands, and their readers may stall.
_AHEAD, EVENTS_AHEAD = 128 << 10, 16 << 10

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class UpstreamError(Exception):
    """A call to the core failed.

    ``reason`` is the core's own word for the cause, and the message is then the
    core's text for callers. ``reason`` is None if the core gave none: it was
    not reached, or it is not a core.
    """

    def __init__(self, code: grpc.StatusCode, reason: str | None, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason


class CoreClient:
    """A channel to one core, ``HOST:PORT`` or ``unix:PATH``; create it inside a running loop.

    Every call ends within ``timeout`` seconds, with an answer or with `UpstreamError`. It
    sends the core's token, if there is one, and names who makes the request.
    """

    def __init__(
        self,
        address: str,
        timeout: float,
        tls: ClientTls | None = None,
        token_file: Path | None = None,
        observe: Callable[[str, str, float], None] | None = None,
        ahead: int = _AHEAD,
    ) -> None:
        """Call ``observe`` with the method, status code and seconds of each call.

        ``ahead`` is how many bytes of a stream are received before they are read.
        Raises `FileError`.
        """
        options = [*_OPTIONS, ("grpc.http2.lookahead_bytes", ahead)]
        if tls is None:
            self._channel = grpc.aio.insecure_channel(address, options=options)
        else:
            credentials = in_time(lambda: grpc_channel_credentials(tls), *tls.files)
            self._channel = grpc.aio.secure_channel(address, credentials, options=options)
        self._tokens = None
        if token_file is not None:
            self._tokens = WatchedFile([token_file], partial(read_core_tokens, token_file))
        self._stub = SessionServiceStub(self._channel)
        self._sources = SourceServiceStub(self._channel)
        self._health: Any = HealthStub(self._channel)  # its methods have no types
        self._timeout = timeout
        self._observe = observe

    async def list_sessions(self, request: ListSessionsRequest) -> ListSessionsResponse:
        """Return one page of sessions."""
        return await self._call(self._stub.ListSessions, request)

    async def get_session(self, request: GetSessionRequest) -> GetSessionResponse:
        """Return one session."""
        return await self._call(self._stub.GetSession, request)

    async def list_sources(self) -> Sequence[Source]:
        """Return all sources, in the order of the core's configuration."""
        answer = await self._call(self._sources.ListSources, ListSourcesRequest())
        return list(answer.sources)

    async def check(self) -> None:
        """Raise `UpstreamError` unless the core says that it can answer now."""
        request = HealthCheckRequest(service=_SESSIONS)
        answer = await self._call(self._health.Check, request)
        if answer.status != HealthCheckResponse.SERVING:
            raise UpstreamError(
                grpc.StatusCode.UNAVAILABLE, "NOT_READY", "the core is not ready to answer yet"
            )

    async def watch_sessions(
        self, request: WatchSessionsRequest
    ) -> AsyncGenerator[WatchSessionsResponse]:
        """Follow the sessions, without a deadline, until the stream ends with `UpstreamError`."""
        call = self._stub.WatchSessions(request, wait_for_ready=False, metadata=self._metadata())
        try:
            while (response := await _read(call)) is not grpc.aio.EOF:
                yield response
        except grpc.aio.AioRpcError as error:
            raise _core_error(error) from None
        except asyncio.CancelledError:
            raise _cancelled() from None
        finally:
            call.cancel()
        raise UpstreamError(grpc.StatusCode.UNAVAILABLE, None, "the core ended the stream")

    async def close(self) -> None:
        """End the calls under way and close the channel."""
        await self._channel.close()

    def _metadata(self) -> list[tuple[str, str]]:
        metadata = []
        if self._tokens is not None:
            metadata.append(("authorization", f"Bearer {self._tokens.value[0]}"))
        if identity := caller.get():
            metadata.append((CALLER_METADATA, identity.encode()))
        if correlation := current.get():
            metadata += correlation.metadata()
        return metadata

    async def _call(
        self, method: Callable[..., Awaitable[_Response]], request: _Request
    ) -> _Response:
        if self._observe is None:
            return await self._answer(method, request)
        code, began = "CANCELLED", time.perf_counter()
        try:
            answer = await self._answer(method, request)
            code = "OK"
            return answer
        except UpstreamError as error:
            code = error.code.name
            raise
        finally:
            name = type(request).__name__.removesuffix("Request")
            self._observe(name, code, time.perf_counter() - began)

    async def _answer(
        self, method: Callable[..., Awaitable[_Response]], request: _Request
    ) -> _Response:
        try:
            return await method(request, timeout=self._timeout, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            raise _core_error(error) from None
        except asyncio.CancelledError:
            raise _cancelled() from None


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


def _cancelled() -> BaseException:
    """Return what a cancellation means: grpc also reports one if the core cancelled the call."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return asyncio.CancelledError()
    return UpstreamError(grpc.StatusCode.CANCELLED, None, "cancelled by the core")


def _core_error(error: grpc.aio.AioRpcError) -> UpstreamError:
    return UpstreamError(error.code(), _reason(error.trailing_metadata()), error.details() or "")


def _reason(metadata: Any) -> str | None:
    """Return the reason that the core gave in a call's trailing metadata."""
    for key, value in metadata or ():
        if key != STATUS_TRAILER:
            continue
        info = ErrorInfo()
        try:
            for detail in Status.FromString(value).details:
                if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
                    return info.reason
        except DecodeError:
            return None
    return None
