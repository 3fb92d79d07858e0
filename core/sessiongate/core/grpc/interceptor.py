"""Interception of calls to the methods of a gRPC server."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from inspect import isasyncgenfunction
from typing import Any, Protocol, TypeAlias

import grpc

CallContext: TypeAlias = grpc.aio.ServicerContext[Any, Any]
CallMetadata: TypeAlias = Iterable[tuple[str, str | bytes]]
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic only to type checkers

# How a handler is made, by whether requests and responses are streams.
_KINDS = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


# The metadata of the current call, from when it is read until its caller is authenticated: gRPC
# makes it again for each question. Each call is a task of its own, whose context begins without it.
metadata_of_call: ContextVar[CallMetadata | None] = ContextVar("metadata_of_call", default=None)


class Interceptor(Protocol):
    """Wraps the handler of each method once, when the method is registered.

    Only the first one's behaviour must be a coroutine function, as gRPC wants it; those of the
    others may be functions that return an awaitable, which saves a coroutine for each call.
    """

    def before(self, method: str, handler: MethodHandler) -> MethodHandler:
        """Return the wrapper of a handler; ``method`` is ``SERVICE/METHOD``."""


def behaviour_of(handler: MethodHandler) -> Any:
    """Return the function that answers a handler's calls, given request and context."""
    name, _ = _KINDS[handler.request_streaming, handler.response_streaming]
    return getattr(handler, name)


def is_awaited(handler: MethodHandler) -> bool:
    """Return whether a handler answers one request by an awaitable, not by a generator."""
    return not handler.request_streaming and not isasyncgenfunction(behaviour_of(handler))


def behaving(handler: MethodHandler, behaviour: Any) -> MethodHandler:
    """Return the handler with another behaviour of the same kind."""
    return _made(handler, behaviour, handler.request_deserializer)


def behaving_on_bytes(handler: MethodHandler, behaviour: Any) -> MethodHandler:
    """Do the same as `behaving`, but pass requests on undecoded."""
    return _made(handler, behaviour, None)


def _made(handler: MethodHandler, behaviour: Any, deserializer: Any) -> MethodHandler:
    _, make = _KINDS[handler.request_streaming, handler.response_streaming]
    return make(behaviour, deserializer, handler.response_serializer)
