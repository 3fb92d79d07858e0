"""A gRPC server that no caller can end, and whose log and memory none can fill.

grpc.aio reads the path of every call as UTF-8, and stops serving if one is not. It
logs a trace for metadata that is not text. It keeps an answer that its caller does not
take, and has no way to end that call.
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
    """Make a server as ``grpc.aio.server`` does. It serves registered method handlers only."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_callers_doing)
    before = cygrpc.AioServer
    cygrpc.AioServer = _Server
    try:
        return grpc.aio.server(interceptors=interceptors, options=options)
    finally:
        cygrpc.AioServer = before


def cutter() -> Callable[[], None]:
    """Return what cuts the call being answered, even once the answer waits for its caller."""
    tasks = _current(), _holding.get()

    def cut() -> None:
        for reference in tasks:
            if task := reference():
                task.cancel()

    return cut


# The task that waits for a caller to end its call. Once it and the task that answers are gone,
# nothing holds the call any more, and gRPC resets it; so nothing here holds a task.
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
    """Passes a call of an existing method to that method, and answers the others here.

    So their paths are never read: there is no such method, whatever it is called.
    """

    async def _request_call(self) -> None:
        """Answer calls of no registered method for ever; the base only waits for the next."""
        loop = asyncio.get_running_loop()
        answering: set[asyncio.Task[None]] = set()
        while True:
            call = await super()._request_call()
            answer = cygrpc._handle_rpc("", _NO_METHODS, (), call, loop, False)
            task = loop.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, ""))
            answering.add(task)
            task.add_done_callback(answering.discard)


_NO_METHODS = cygrpc._MethodResolver([], {})


# Lines of grpc's own: metadata that is not text, and a call that ended before its answer.
_CALLERS_DOING = ("Invalid encoding on", "ExecuteBatchError raised in core")


def _is_no_callers_doing(record: logging.LogRecord) -> bool:
    """Return whether a record reports more than callers can cause as often as they like."""
    return not str(record.msg).startswith(_CALLERS_DOING)
