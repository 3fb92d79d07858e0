"""The core's share of an RPC: its calls compared with an empty unary one, in one process.

``python -m bench.core_rpc`` starts a core with synthetic sessions, every default on
and one more method, in a separate process, and calls it from this one. Requests
and responses stay bytes here, so that the client costs the same for every call.
Rounds are interleaved; medians are shown.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import grpc
import psutil

from sessiongate.core.history.history import History
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from sessiongate.runtime.event_loop import run_loop
from sessiongate.v1.session_service_pb2 import GetSessionRequest, ListSessionsRequest

SESSIONS = 10_000
CONCURRENCY = 16
ROUNDS = 7
SECONDS = 1.5  # per call and round
EMPTY = "empty"
_SERVICE = "/sessiongate.v1.SessionService"
_CALLS = {
    EMPTY: ("/bench.Empty/Call", b""),
    "GetSession": (f"{_SERVICE}/GetSession", GetSessionRequest(id=77).SerializeToString()),
    "ListSessions, 100": (
        f"{_SERVICE}/ListSessions",
        ListSessionsRequest(page_size=100).SerializeToString(),
    ),
    "ListSessions, 10,000": (
        f"{_SERVICE}/ListSessions",
        ListSessionsRequest(page_size=10_000).SerializeToString(),
    ),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One call's medians: calls a second, and server CPU microseconds a call."""

    name: str
    rate: float
    cpu: float


def measure(rounds: int = ROUNDS, seconds: float = SECONDS) -> Sequence[Figure]:
    """Return every call's figure, the empty one first."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,))
    server.start()
    try:
        assert server.pid is not None
        return asyncio.run(_measure(ours.recv(), psutil.Process(server.pid), rounds, seconds))
    finally:
        ours.send(None)
        server.join()


async def _measure(
    address: str, server: psutil.Process, rounds: int, seconds: float
) -> Sequence[Figure]:
    rates: dict[str, list[float]] = {name: [] for name in _CALLS}
    cpus: dict[str, list[float]] = {name: [] for name in _CALLS}
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        for _ in range(rounds):
            for name, (path, request) in _CALLS.items():
                before = server.cpu_times()
                calls, took = await _load(channel.unary_unary(path), request, seconds)
                after = server.cpu_times()
                spent = after.user + after.system - before.user - before.system
                rates[name].append(calls / took)
                cpus[name].append(spent / calls * 1e6)
    return [Figure(name, median(rates[name]), median(cpus[name])) for name in _CALLS]


async def _load(call: Any, request: bytes, seconds: float) -> tuple[int, float]:
    """Call for ``seconds``, `CONCURRENCY` at a time; return the number of calls and the time."""
    began = time.perf_counter()
    end = began + seconds

    async def caller() -> int:
        calls = 0
        while time.perf_counter() < end:
            await call(request)
            calls += 1
        return calls

    calls = sum(await asyncio.gather(*(caller() for _ in range(CONCURRENCY))))
    return calls, time.perf_counter() - began


def _serve(pipe: Connection) -> None:
    run_loop(_run(pipe))


class _Core(Core):
    """A core with one more method, which returns an empty response."""

    def _listen(self, history: History) -> grpc.aio.Server:
        server = super()._listen(history)
        handler: grpc.RpcMethodHandler[bytes, bytes]
        handler = grpc.unary_unary_rpc_method_handler(_nothing)
        server.add_registered_method_handlers("bench.Empty", {"Call": handler})
        return server


async def _nothing(request: bytes, context: object) -> bytes:
    return b""


async def _run(pipe: Connection) -> None:
    source = SourceConfig.parse(f"synthetic:?sessions={SESSIONS}")
    async with _Core(CoreConfig(sources=(source,), grpc="127.0.0.1:0", grace=0)) as core:
        await core.table.ready.wait()
        pipe.send(core.address)
        await asyncio.to_thread(pipe.recv)


def main() -> None:
    """Print every call's figure, and its ratio to the empty one."""
    figures = measure()
    empty = figures[0]
    print(f"{'call':24}{'calls/s':>10}{'ratio':>8}{'server us/call':>16}")
    for figure in figures:
        ratio = figure.rate / empty.rate
        print(f"{figure.name:24}{figure.rate:10.0f}{ratio:8.2f}{figure.cpu:16.0f}")


if __name__ == "__main__":
    main()
