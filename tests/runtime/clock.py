"""A clock for tests."""

from __future__ import annotations


class Clock:
    """A clock that advances only when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now
