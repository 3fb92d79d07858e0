"""Waiting tasks are woken when the program stops."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sessiongate.gateway.shutdown import Shutdown
from tests.gateway.programs import LONG


def test_one_whose_time_is_over_just_then_holds_up_no_other() -> None:
    stopping = Shutdown()

    async def wait(seconds: float) -> None:
        with suppress(TimeoutError):
            async with stopping.timeout(seconds):
                await asyncio.Event().wait()

    async def test() -> None:
        waiting = [asyncio.create_task(wait(seconds)) for seconds in (0.0, 10 * LONG)]
        await asyncio.sleep(0)  # both wait, and the first times out in the next round
        asyncio.get_running_loop().call_soon(stopping.begin)
        async with asyncio.timeout(LONG):
            await asyncio.gather(*waiting)

    asyncio.run(test())
