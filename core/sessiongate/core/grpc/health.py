"""The gRPC health service: one status for the core and for each of its services.

It is open to everyone, so a client that reads nothing must delay nobody: it is sent the
latest status once it makes room, and streams are limited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.service import answering
from sessiongate.core.grpc.stream_quota import StreamQuota, caller_of

_SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)
_NOT_SERVING = HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING)
_UNKNOWN = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)


class Health(HealthServicer):
    """grpc.health.v1.Health; initially NOT_SERVING."""

    def __init__(self, services: Iterable[str], watchers: StreamQuota) -> None:
        """Report ``services``, and the whole core under an empty name."""
        self._services = frozenset({"", *services})
        self._watchers = watchers
        self._serving = False
        self._changed = asyncio.Event()  # set, and replaced, when the status changes

    def set(self, *, serving: bool) -> None:
        """Set whether the core serves."""
        self._serving = serving
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: HealthCheckRequest, context: CallContext) -> HealthCheckResponse:
        answer = self._answer(request)
        if answer == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return answer

    async def List(self, request: object, context: CallContext) -> Any:
        answer: Any = health_pb2.HealthListResponse  # type: ignore[attr-defined] # stubs lack it
        state = _SERVING if self._serving else _NOT_SERVING
        return answer(statuses=dict.fromkeys(self._services, state))

    @answering
    async def Watch(self, request: HealthCheckRequest, context: CallContext) -> None:
        sent = None
        with self._watchers.admitted(caller_of(context)):
            while True:
                changed = self._changed
                answer = self._answer(request)
                if answer != sent:
                    await context.write(answer)
                    sent = answer
                await changed.wait()

    def _answer(self, request: HealthCheckRequest) -> HealthCheckResponse:
        if request.service not in self._services:
            return _UNKNOWN
        return _SERVING if self._serving else _NOT_SERVING
