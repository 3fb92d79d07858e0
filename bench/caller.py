"""A caller who asks a core for one session ten times a second, in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import grpc

from bench.measures import LONG
from bench.programs import BenchError
from sessiongate.v1.session_service_pb2 import GetSessionRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub

_PERIOD = 0.1  # seconds from the beginning of one call to that of the next


class Wait(NamedTuple):
    """An answered call, in seconds of the clock that all processes share."""

    began: float
    took: float


class Caller:
    """A running caller; `stop` it once."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def stop(self) -> list[Wait]:
        """Return all waits, also that of the call under way. Raises `BenchError`."""
        with suppress(OSError):  # it has failed
            self._pipe.send(None)
        found: list[Wait] = _receive(self._pipe)
        return found


@contextmanager
def calling(core: str, ident: int) -> Iterator[Caller]:
    """Ask a core for a session until the context ends, and at least until `Caller.stop`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_call, args=(core, ident, theirs))
    process.start()
    theirs.close()
    try:
        _receive(ours)  # it has the first answer
        yield Caller(ours)
    finally:
        process.kill()
        process.join()


def _call(core: str, ident: int, pipe: Connection) -> None:
    waits: list[Wait] = []
    request = GetSessionRequest(id=ident)
    with grpc.insecure_channel(core) as channel:
        stub = SessionServiceStub(channel)
        try:
            stub.GetSession(request, timeout=LONG)
            pipe.send(None)
            due = time.monotonic()
            while not pipe.poll(max(0.0, due - time.monotonic())):
                began = time.monotonic()
                stub.GetSession(request, timeout=LONG)
                waits.append(Wait(began, time.monotonic() - began))
                due = began + _PERIOD
        except grpc.RpcError as error:
            pipe.send(BenchError(f"GetSession failed: {error.details()}"))
        else:
            pipe.send(waits)


def _receive(pipe: Connection) -> Any:
    try:
        found = pipe.recv() if pipe.poll(2 * LONG) else BenchError("the caller hangs")
    except EOFError:
        found = BenchError("the caller has ended")
    if isinstance(found, BenchError):
        raise found
    return found
