"""A gRPC server that no caller can stop, and whose log and memory no caller can fill.

grpc.aio decodes the path of every call as UTF-8, and stops serving if that fails. It
logs a trace for metadata that is not text. It keeps a response that its caller does not
read, and has no way to end that call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import ReferenceType, ref

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined] # its stubs lack it

from sessiongate.core.grpc.interceptor import Interceptor, MethodHandler


def grpc_server(
    interceptors: Sequence[Interceptor], options: Sequence[tuple[str, Any]]
) -> grpc.aio.Server:
    """Create a server like ``grpc.aio.server``, which serves only registered method handlers.

    The first of the interceptors is the outermost.
    """
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_not_caused_by_caller)
    before = cygrpc.AioServer
    cygrpc.AioServer = partial(_Server, interceptors)
    try:
        return grpc.aio.server(options=options)
    finally:
        cygrpc.AioServer = before


def cutter() -> Callable[[], None]:
    """Return a function that ends the current call, even while its response is being sent."""
    tasks = _current(), _holding.get()

    def cut() -> None:
        for reference in tasks:
            if task := reference():
                task.cancel()

    return cut


# The task that waits for a caller to end its call. Once it and the task that answers are gone,
# nothing references the call, and gRPC resets it; so nothing here may reference a task.
_holding: ContextVar[ReferenceType[asyncio.Task[Any]]] = ContextVar("holding")


async def _scheduled(*call: object) -> None:
    _holding.set(_current())
    await cygrpc._schedule_rpc_coro(*call)


def _current() -> ReferenceType[asyncio.Task[Any]]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this runs in one
    return ref(task)


# Calls of a method that may arrive in one round of the loop; the base class takes one.
_AT_ONCE = 8


class _Server(cygrpc.AioServer):  # type: ignore[misc] # it has no types
    """Starts each call as it arrives; the base class would wait for all methods by turns.

    Calls of methods that do not exist are answered whatever their path, which is not decoded.
    """

    def __init__(self, interceptors: Sequence[Interceptor], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._interceptors = interceptors
        self._handlers: dict[str, MethodHandler] = {}
        self._answering: set[asyncio.Task[None]] = set()  # so that nothing collects them

    def add_registered_method_handlers(self, handlers: Mapping[str, MethodHandler]) -> None:
        for path, handler in handlers.items():
            for interceptor in reversed(self._interceptors):
                handler = interceptor.before(path.removeprefix("/"), handler)
            self._handlers[path] = handler
        super().add_registered_method_handlers(handlers)

    async def _request_registered_call(self, path: bytes) -> None:
        """Answer calls of a method forever; the base class only waits for the next one."""
        method = path.decode()
        handler = self._handlers[method]
        handle = partial(_HANDLE[handler.request_streaming, handler.response_streaming], handler)
        following = super()._request_registered_call

        async def start() -> None:
            while True:
                self._start(await following(path), method, handle)

        await asyncio.gather(*(start() for _ in range(_AT_ONCE)))

    async def _request_call(self) -> None:
        """Do the same as `_request_registered_call`, for all methods that do not exist."""

        def handle(call: object, loop: object) -> Coroutine[Any, Any, None]:
            return cygrpc._handle_rpc("", _NO_METHODS, (), call, loop, False)  # type: ignore[no-any-return]

        while True:
            self._start(await super()._request_call(), "", handle)

    def _start(self, call: object, method: str, handle: Callable[[object, object], object]) -> None:
        """Start a task that answers a call; only the task may keep it (`cutter`)."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(_scheduled(handle(call, loop), call, loop, method))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)


# By whether requests and responses are streams.
_HANDLE = {
    (False, False): cygrpc._handle_unary_unary_rpc,
    (False, True): cygrpc._handle_unary_stream_rpc,
    (True, False): cygrpc._handle_stream_unary_rpc,
    (True, True): cygrpc._handle_stream_stream_rpc,
}
_NO_METHODS = cygrpc._MethodResolver([], {})


# Lines that grpc logs: metadata that is not text, and a call that ended before its response.
_CAUSED_BY_CALLERS = ("Invalid encoding on", "ExecuteBatchError raised in core")


def _is_not_caused_by_caller(record: logging.LogRecord) -> bool:
    """Return whether a record is about anything but what callers can cause at will."""
    return not str(record.msg).startswith(_CAUSED_BY_CALLERS)
