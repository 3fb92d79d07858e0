"""Readers of a front: they count what they receive, and discard it.

``python -m bench.fleet_readers READERS FRONT CORES…`` prints a line once all have the whole state.
It measures from a line on its standard input to the next, and prints, as JSON, how many readers
were cut off, how many sessions were replaced, and how much later than by their core readers were
told of 99 of 100 new sessions, in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence

import grpc

from sessiongate.v1.session_service_pb2 import WatchSessionsRequest, WatchSessionsResponse
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub

_AT_ONCE = 4  # readers that get the whole state
_LAST = 5.0  # seconds that readers may be late at the end


class Readers:
    """The messages that they have received, and when."""

    def __init__(self) -> None:
        self.stated: dict[int, float] = {}  # when its core told of a new session, by id
        self.told: list[tuple[int, float]] = []  # by the front
        self.since = self.until = float("inf")
        self.ended = 0  # readers that were cut off
        self._is_free = asyncio.Semaphore(_AT_ONCE)

    async def follow(self, core: str, is_whole: asyncio.Event) -> None:
        """Note when a core sends sessions."""
        async for message in _messages(core):
            now = time.monotonic()
            for session in message.changes.upserts:
                self.stated.setdefault(session.id, now)
            if message.HasField("as_of"):
                is_whole.set()

    async def read(self, front: str, is_whole: asyncio.Event) -> None:
        """Note when the front sends sessions."""
        try:
            async with self._is_free:
                messages = _messages(front)
                async for message in messages:
                    if message.HasField("as_of"):
                        break
            is_whole.set()
            known = set[int]()  # a session that changes again is no longer new
            async for message in messages:
                now = time.monotonic()
                new = {each.id for each in message.changes.upserts} - known
                known |= new
                if self.since <= now:
                    self.told += [(ident, now) for ident in new]
        except grpc.RpcError as error:
            print(f"a reader was cut off: {error}", file=sys.stderr)
        self.ended += 1
        is_whole.set()

    def figures(self) -> dict[str, float]:
        """Return what was measured."""
        new = {ident: at for ident, at in self.stated.items() if self.since <= at <= self.until}
        lags = sorted(max(0.0, at - new[ident]) for ident, at in self.told if ident in new)
        lag = lags[len(lags) * 99 // 100] if lags else float("inf")
        return {"ended": self.ended, "replaced": len(new), "lag": lag}


async def _messages(address: str) -> AsyncIterator[WatchSessionsResponse]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        async for message in SessionServiceStub(channel).WatchSessions(WatchSessionsRequest()):
            yield message


async def main(number: int, front: str, cores: Sequence[str]) -> None:
    """Read until told to end."""
    loop, readers = asyncio.get_running_loop(), Readers()
    whole = [asyncio.Event() for _ in range(number + len(cores))]
    tasks = [
        asyncio.create_task(readers.follow(core, each))
        for core, each in zip(cores, whole, strict=False)
    ]
    tasks += [asyncio.create_task(readers.read(front, each)) for each in whole[len(cores) :]]
    for each in whole:
        await each.wait()
    print("all read", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    readers.since = time.monotonic()
    await loop.run_in_executor(None, sys.stdin.readline)
    readers.until = time.monotonic()
    await asyncio.sleep(_LAST)
    print(json.dumps(readers.figures()))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
