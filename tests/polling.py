"""Waiting for what a program shows only when it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.servers import PATIENCE

T = TypeVar("T")

# Seconds between two looks, at least and at most: what is waited for needs the CPU.
_SHORT, _LONG = 0.02, 0.1


def eventually(look: Callable[[], T], wanted: Callable[[T], object] = bool) -> T:
    """Look until the result is as wanted, by default true; return it."""
    began = time.monotonic()
    while not wanted(seen := look()):
        waited = time.monotonic() - began
        assert waited < PATIENCE, f"still {seen!r}"
        time.sleep(min(max(_SHORT, waited / 8), _LONG))
    return seen
