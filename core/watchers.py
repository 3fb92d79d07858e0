"""How many streams each caller has open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import TooManyWatchersError
from core.interception import Context
from runtime.identity import caller


def caller_of(context: Context) -> str:
    """Whose a call is: the identity that was shown, or else the address that it came from."""
    identity = caller.get()
    return identity.encode() if identity else str(context.peer().rpartition(":")[0])


class Watchers:
    """Admits streams, up to ``limit`` for one caller."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._open.total()

    @contextmanager
    def admitted(self, caller: str) -> Iterator[None]:
        """Count a stream for as long as it is open. Raises `TooManyWatchersError`."""
        if self._open[caller] >= self._limit:
            raise TooManyWatchersError(
                f"{self._limit} streams are open already; max_watchers allows no more",
                max_watchers=str(self._limit),
            )
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]
