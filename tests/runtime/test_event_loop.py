"""Which event loop the programs run on."""

from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop

from sessiongate.runtime.event_loop import run_loop


async def running() -> type[asyncio.AbstractEventLoop]:
    return type(asyncio.get_running_loop())


def test_the_loop_is_uvloop_s() -> None:
    assert issubclass(run_loop(running()), uvloop.Loop)


def test_without_uvloop_the_loop_is_asyncio_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert issubclass(run_loop(running()), asyncio.BaseEventLoop)
