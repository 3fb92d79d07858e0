"""The client of the core leaves nothing behind."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from contextlib import aclosing

import pytest

from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.v1.session_service_pb2 import WatchSessionsRequest
from tests.gateway.programs import LONG, running_core

STREAMS = 200


class _Allocated(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks")),
        ("keepcost", ctypes.c_size_t),
    )


def allocated() -> int:
    """Return the bytes that this process has from the C library and has not given back."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("the C library is not glibc 2.33 or later")
    library.mallinfo2.restype = _Allocated
    gc.collect()
    found = library.mallinfo2()
    return int(found.uordblks + found.hblkhd)


async def leave_streams(client: CoreClient) -> None:
    """Read streams, each in a task that is cancelled while it waits for the second message."""

    async def read(begun: asyncio.Event) -> None:
        async with aclosing(client.watch_sessions(WatchSessionsRequest())) as messages:
            async for _ in messages:
                begun.set()

    for _ in range(STREAMS):
        begun = asyncio.Event()
        reading = asyncio.create_task(read(begun))
        await begun.wait()
        reading.cancel()
        await asyncio.wait((reading,))
        assert reading.cancelled()


def test_a_stream_that_is_left_while_it_is_read_costs_no_memory() -> None:
    async def growth(address: str) -> int:
        client = CoreClient(address, LONG)
        await leave_streams(client)
        before = allocated()
        await leave_streams(client)
        after = allocated()
        await client.close()
        return after - before

    with running_core("synthetic:?sessions=1") as core:
        assert asyncio.run(growth(core)) < STREAMS * 200  # each would cost 400 bytes
