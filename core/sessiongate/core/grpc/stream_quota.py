"""The number of streams that each caller has open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sessiongate.core.errors import TooManyWatchersError
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.runtime.auth.identity import caller


def caller_of(context: CallContext) -> str:
    """Return whose a call is: the identity shown, or else the address that it came from."""
    identity = caller.get()
    return identity.encode() if identity else str(context.peer().rpartition(":")[0])


# Bytes of one caller's filters, for each stream that it may have: they are kept as long as
# the streams are open.
_FILTER_BYTES = 4096


class StreamQuota:
    """Admits streams, up to ``limit`` for one caller."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()  # of their filters

    def __len__(self) -> int:
        return self._open.total()

    @contextmanager
    def admitted(self, caller: str, size: int = 0) -> Iterator[None]:
        """Count a stream while it is open; ``size`` is its filter's, in bytes.

        Raises `TooManyWatchersError`.
        """
        if self._open[caller] >= self._limit:
            raise TooManyWatchersError(
                f"{self._limit} streams are open already; max_watchers allows no more",
                max_watchers=str(self._limit),
            )
        room = self._limit * _FILTER_BYTES
        if self._bytes[caller] + size > room:
            raise TooManyWatchersError(
                f"the filters of the streams that are open already leave too little of {room}"
                " bytes, which max_watchers gives them",
                max_watchers=str(self._limit),
            )
        self._open[caller] += 1
        self._bytes[caller] += size
        try:
            yield
        finally:
            self._open[caller] -= 1
            self._bytes[caller] -= size
            if not self._open[caller]:
                del self._open[caller], self._bytes[caller]
