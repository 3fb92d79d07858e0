"""The number of streams that each caller has open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sessiongate.core.errors import TooManyWatchersError
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.runtime.auth.identity import caller


def caller_of(context: CallContext) -> str:
    """Return the caller: its identity, or else the address that the call came from."""
    identity = caller.get()
    return identity.encode() if identity else str(context.peer().rpartition(":")[0])


# Bytes of one caller's filters per stream that it may have: filters are kept while streams
# are open.
_FILTER_BYTES = 4096


class StreamQuota:
    """Admits streams, up to ``limit`` per caller."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()  # of their filters

    def __len__(self) -> int:
        return self._open.total()

    @contextmanager
    def admitted(self, caller: str, size: int = 0) -> Iterator[None]:
        """Count a stream while it is open; ``size`` is the size of its filter in bytes.

        Raises `TooManyWatchersError`.
        """
        if self._open[caller] >= self._limit:
            raise TooManyWatchersError(
                f"{self._limit} streams are open; max_watchers allows no more",
                max_watchers=str(self._limit),
            )
        room = self._limit * _FILTER_BYTES
        if self._bytes[caller] + size > room:
            raise TooManyWatchersError(
                f"the filters of all open streams may have {room} bytes in total, as max_watchers"
                " allows; this one exceeds that",
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
