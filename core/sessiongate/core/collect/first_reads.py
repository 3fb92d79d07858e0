"""The permission that a collector or an observer asks for before the first read of a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class FirstReads(Protocol):
    """Keeps a source that ends its cores apart from the others."""

    async def begin(self, source: str, waiting: Callable[[str], None]) -> None:
        """Return when a source may be read; until then, tell ``waiting`` why it may not."""

    async def attempt(self, source: str) -> str:
        """Return why a source, which is read alone, may not be read now; empty if it may."""

    async def end(self, source: str, *, is_read: bool) -> bool:
        """Note that the attempt has ended; return whether that is noted.

        A source that ``is_read`` needs no more attempts.
        """
