"""Every call of the core: under the id of the request that caused it, logged, and counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

import grpc

from core.metrics import CallMetrics
from runtime.correlation import current, from_pairs
from runtime.logs import fields

log = logging.getLogger("core.access")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour: TypeAlias = Callable[[Any, Any], Awaitable[Any]]


class Observer(grpc.aio.ServerInterceptor):
    """To be the first of a server's interceptors, so that it sees what others refuse too."""

    def __init__(self, metrics: CallMetrics, *, access_log: bool) -> None:
        self._metrics = metrics
        self._access_log = access_log
        # By method: what was seen for it and what is seen instead.
        self._observed: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(details)
        if handler is None:
            return None
        known = self._observed.get(details.method)
        if known is None or known[0] is not handler:
            known = handler, self._observing(details.method.lstrip("/"), handler)
            self._observed[details.method] = known
        return known[1]

    def _observing(self, method: str, handler: Handler) -> Handler:
        """The handler, observed; one that is a generator is left as it is."""
        if handler.unary_unary and iscoroutinefunction(handler.unary_unary):
            kind, inner = grpc.unary_unary_rpc_method_handler, handler.unary_unary
        elif handler.unary_stream and iscoroutinefunction(handler.unary_stream):
            kind, inner = grpc.unary_stream_rpc_method_handler, handler.unary_stream
        else:
            return handler
        return kind(
            self._wrapped(method, inner, streams=handler.response_streaming),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _wrapped(self, method: str, inner: Behaviour, *, streams: bool) -> Behaviour:
        async def observed(request: Any, context: Any) -> Any:
            current.set(from_pairs(context.invocation_metadata() or ()))
            began = time.perf_counter()
            code = "UNKNOWN"
            try:
                response = await inner(request, context)
                code = _code(context)
                return response
            except asyncio.CancelledError:
                left = context.time_remaining()
                late = left is not None and left <= 0
                code = "DEADLINE_EXCEEDED" if late else "CANCELLED"
                raise
            except Exception:
                code = _code(context, "UNKNOWN")
                raise
            finally:
                self._tell(method, code, time.perf_counter() - began, context, streams=streams)

        return observed

    def _tell(self, method: str, code: str, took: float, context: Any, *, streams: bool) -> None:
        if streams:
            self._metrics.ended(method, code)
        else:
            self._metrics.answered(method, code, took)
        if self._access_log:
            more = fields(method=method, code=code, seconds=round(took, 6), peer=context.peer())
            log.info("%s %s", method, code, extra=more)


def _code(context: Any, default: str = "OK") -> str:
    """The status that a call was ended with; ``default`` where it is still the first, OK."""
    code = context.code()
    return str(code.name) if isinstance(code, grpc.StatusCode) and code.value[0] else default
