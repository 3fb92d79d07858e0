"""gRPC's server, which no caller can end, and whose log and memory none can fill.

grpc.aio reads the path of every call as UTF-8, and stops serving where one is not. It
logs a trace for metadata that is none. It keeps an answer that its caller does not take, and has
no way to end that call.
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
    """A server as ``grpc.aio.server`` makes one. It serves registered method handlers only."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_callers_doing)
    before = cygrpc.AioServer
    cygrpc.AioServer = _Server
    try:
        return grpc.aio.server(interceptors=interceptors, options=options)
    finally:
        cygrpc.AioServer = before


def cutter() -> Callable[[], None]:
    """What cuts the call that is answered here, also once its answer waits for its caller."""
    tasks = _current(), _holding.get()

    def cut() -> None:
        for reference in tasks:
            if task := reference():
                task.cancel()

    return cut


# The task that waits for a caller to end its call. With it and the one that answers goes the last
# that holds the call, which gRPC then resets; so nothing here holds a task.
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
    """A call of a method that there is comes in by that method. The others are answered here.

    So their paths are never read: there is no such method, whatever it is called.
    """

    async def _request_call(self) -> None:
        """Where the base waits for the next call of no registered method: it waits for ever."""
        loop = asyncio.get_running_loop()
        answering: set[asyncio.Task[None]] = set()
        while True:
            call = await super()._request_call()
            answer = cygrpc._handle_rpc("", _NO_METHODS, (), call, loop, False)
            task = loop.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, ""))
            answering.add(task)
            task.add_done_callback(answering.discard)


_NO_METHODS = cygrpc._MethodResolver([], {})


# Of grpc's own lines: metadata that is no text, and a call that ended before its answer.
_CALLERS_DOING = ("Invalid encoding on", "ExecuteBatchError raised in core")


def _is_no_callers_doing(record: logging.LogRecord) -> bool:
    """Whether a record tells of more than what a caller can cause as often as it likes."""
    return not str(record.msg).startswith(_CALLERS_DOING)
