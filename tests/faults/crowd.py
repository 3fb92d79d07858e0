"""Threads that do something again and again, all at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Self

from tests.closing import Closing
from tests.program import PATIENCE


class Crowd(Closing):
    """Threads that run from the beginning of a `with` until ``_stop`` is set at its end."""

    def __init__(self, targets: Iterable[Callable[[], None]]) -> None:
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=target) for target in targets]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        """Stop them."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
