"""A gRPC server that no caller can stop, and whose log and memory no caller can fill.

grpc.aio decodes the path of every call as UTF-8, and stops serving if that fails. It
logs a trace for metadata that is not text. It keeps a response that its caller does not
read, and has no way to end that call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any
from weakref import ReferenceType, ref

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined] # its stubs lack it


def grpc_server(
    interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, Any]]
) -> grpc.aio.Server:
    """Create a server like ``grpc.aio.server``, which serves only registered method handlers."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_not_caused_by_caller)
    before = cygrpc.AioServer
    cygrpc.AioServer = _Server
    try:
        return grpc.aio.server(interceptors=interceptors, options=options)
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
_schedule = cygrpc._schedule_rpc_coro


async def _scheduled(*call: object) -> None:
    _holding.set(_current())
    await _schedule(*call)


def _current() -> ReferenceType[asyncio.Task[Any]]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this runs in one
    return ref(task)


cygrpc._schedule_rpc_coro = _scheduled


class _Server(cygrpc.AioServer):  # type: ignore[misc] # it has no types
    """Passes calls of existing methods on, and answers all others itself.

    So the others' paths are never decoded: the method does not exist, whatever its name.
    """

    async def _request_call(self) -> None:
        """Answer calls of unknown methods forever; the base class only waits for the next one."""
        loop = asyncio.get_running_loop()
        answering: set[asyncio.Task[None]] = set()
        while True:
            call = await super()._request_call()
            answer = cygrpc._handle_rpc("", _NO_METHODS, (), call, loop, False)
            task = loop.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, ""))
            answering.add(task)
            task.add_done_callback(answering.discard)


_NO_METHODS = cygrpc._MethodResolver([], {})


# Lines that grpc logs: metadata that is not text, and a call that ended before its response.
_CAUSED_BY_CALLERS = ("Invalid encoding on", "ExecuteBatchError raised in core")


def _is_not_caused_by_caller(record: logging.LogRecord) -> bool:
    """Return whether a record is about anything but what callers can cause at will."""
    return not str(record.msg).startswith(_CAUSED_BY_CALLERS)
