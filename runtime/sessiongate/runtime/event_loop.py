"""The event loop that both programs run on: uvloop, or asyncio's own if it is not installed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_loop(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a new event loop, and return its result."""
    try:  # imported when used: it is slow to import
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
