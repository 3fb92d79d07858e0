"""The gateway's client of the core: its credentials, and whose request it makes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sessiongate.client.asynchronous import AsyncClient
from sessiongate.client.channel import DEFAULT_READ_AHEAD
from sessiongate.client.errors import CallError
from sessiongate.runtime.auth.core_token import read_core_tokens
from sessiongate.runtime.auth.identity import CALLER_METADATA, caller
from sessiongate.runtime.telemetry.correlation import current
from sessiongate.runtime.tls import ClientTls, grpc_channel_credentials
from sessiongate.runtime.watched_file import WatchedFile, in_time
from sessiongate.v1.errors import Reason
from sessiongate.v1.service_names import SESSION_SERVICE

# Bytes buffered unread per stream. Event streams number thousands, and their readers may stall.
EVENTS_AHEAD = 16 << 10


class CoreClient(AsyncClient):
    """A channel to one core. Sends the core's token, if there is one, and names the caller."""

    def __init__(
        self,
        address: str,
        timeout: float,
        tls: ClientTls | None = None,
        token_file: Path | None = None,
        observe: Callable[[str, str, float], None] | None = None,
        ahead: int = DEFAULT_READ_AHEAD,
    ) -> None:
        """Prepare to call the core; the arguments are `AsyncClient`'s. Raises `FileError`."""
        credentials = token = None
        if tls is not None:
            credentials = in_time(lambda: grpc_channel_credentials(tls), *tls.files)
        if token_file is not None:
            tokens = WatchedFile([token_file], partial(read_core_tokens, token_file))
            token = lambda: tokens.value[0]  # noqa: E731
        super().__init__(
            address,
            timeout=timeout,
            credentials=credentials,
            token=token,
            metadata=_request_metadata,
            observe=observe,
            read_ahead=ahead,
        )
        self._health: Any = HealthStub(self._channel)  # its methods have no types

    async def check(self) -> None:
        """Raise `CallError` unless the core says that it can answer now."""
        request = HealthCheckRequest(service=SESSION_SERVICE)
        answer = await self._call(self._health.Check, request, None)
        if answer.status != HealthCheckResponse.SERVING:
            text = "the core is not ready to answer yet"
            raise CallError(grpc.StatusCode.UNAVAILABLE, Reason.NOT_READY, text)


def _request_metadata() -> list[tuple[str, str]]:
    metadata = []
    if identity := caller.get():
        metadata.append((CALLER_METADATA, identity.encode()))
    if correlation := current.get():
        metadata += correlation.metadata()
    return metadata
