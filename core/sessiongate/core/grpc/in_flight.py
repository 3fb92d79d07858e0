"""Bytes of lists that are ready, or in preparation, and not read by their callers yet.

They are limited per caller, so that a caller that reads nothing delays only itself; and in
total, except that each caller may always have one list.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from sessiongate.core.errors import TooManyCallsError

SMALL_LIST = 65536  # bytes of a list that never waits for others
# gRPC holds a list twice: as it was made, and ready to be sent.
_OF_A_CALLER = 32 * 1024 * 1024
_OF_ALL = 4 * _OF_A_CALLER
_MAX_WAITING = 256  # lists of a caller


class ListsInFlight:
    """The bytes that all callers' lists take."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        # In order of arrival, with their callers and bytes.
        self._waiting: dict[asyncio.Future[ListCharge], tuple[str, int]] = {}

    def taken(self, caller: str | None = None) -> int:
        """Return the bytes in use by a caller's lists, or by all lists."""
        return self._taken.total() if caller is None else self._taken[caller]

    def take_now(self, caller: str, size: int) -> ListCharge | None:
        """Take ``size`` bytes if they are free and no list of the caller waits."""
        if any(whose == caller for whose, _ in self._waiting.values()):
            return None
        return self._take(caller, size) if self._fits(caller, size) else None

    async def take(self, caller: str, size: int) -> ListCharge:
        """Take ``size`` bytes once they are free. Raises `TooManyCallsError`."""
        charge = self.take_now(caller, size)
        if charge is not None:
            return charge
        if sum(whose == caller for whose, _ in self._waiting.values()) >= _MAX_WAITING:
            raise TooManyCallsError(
                f"{_MAX_WAITING} lists of this caller are waiting; read those before them first",
                max_calls=str(_MAX_WAITING),
            )
        turn: asyncio.Future[ListCharge] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = caller, size
        try:
            return await turn
        except asyncio.CancelledError:
            if self._waiting.pop(turn, None) is None:  # it was granted meanwhile
                turn.result().release()
            else:
                self._grant()
            raise

    def change(self, caller: str, by: int) -> None:
        """Add ``by`` bytes, which may be negative, to a caller's lists."""
        self._taken[caller] += by
        if not self._taken[caller]:
            del self._taken[caller]
        if by < 0:
            self._grant()

    def _fits(self, caller: str, size: int) -> bool:
        taken = self._taken[caller]
        return not taken or (taken + size <= _OF_A_CALLER and self.taken() + size <= _OF_ALL)

    def _take(self, caller: str, size: int) -> ListCharge:
        self._taken[caller] += size
        return ListCharge(self, caller, size)

    def _grant(self) -> None:
        passed = set()  # callers whose next list does not fit
        for turn, (caller, size) in [*self._waiting.items()]:
            if turn.done():  # its call has ended
                continue
            if caller not in passed and self._fits(caller, size):
                del self._waiting[turn]
                turn.set_result(self._take(caller, size))
            else:
                passed.add(caller)


class ListCharge:
    """Bytes that are in use until they are released."""

    def __init__(self, in_flight: ListsInFlight, caller: str, size: int) -> None:
        self._in_flight = in_flight
        self._caller = caller
        self._size = size

    def settle(self, size: int) -> None:
        """Set the number of bytes in use."""
        by, self._size = size - self._size, size
        if by:
            self._in_flight.change(self._caller, by)

    def release(self) -> None:
        """Release the bytes."""
        self.settle(0)
