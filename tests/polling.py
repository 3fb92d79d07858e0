"""Waiting for what a program shows only when it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.servers import PATIENCE

T = TypeVar("T")

_PAUSE = 0.02  # seconds between two looks: what is waited for needs the CPU


def eventually(look: Callable[[], T], wanted: Callable[[T], object] = bool) -> T:
    """Look until the result is as wanted, by default true; return it."""
    end = time.monotonic() + PATIENCE
    while not wanted(seen := look()):
        assert time.monotonic() < end, f"still {seen!r}"
        time.sleep(_PAUSE)
    return seen
