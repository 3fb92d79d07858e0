"""Bounds the bytes of a worker's responses that are made, or being made, and not sent yet.

A body is charged once, however many clients share it, for as long as anything holds it:
a client or a cache.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.runtime.memory import FreeMemory

SMALL = 65536  # bytes of a response that does not wait for others
_PATIENCE = 5.0  # seconds that a large response waits
# Large responses made at a time: more would delay each of them and all other requests, and
# need more memory.
_AT_ONCE = 2
_QUICKER_WHOLE = 1024 * 1024  # bytes up to which the parts are joined once, to be sent in one piece
_OVERLOADED = Error(
    503, "OVERLOADED", "others have not read their responses yet; try again shortly"
)

_BUSY = Error(503, "OVERLOADED", "the gateway is overloaded; try again shortly")


class Resting:
    """Counts requests that are not being worked on: they wait for their client or for room."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one more while the context lasts."""
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class InFlight:
    """Room for a worker's responses, ``limit`` bytes in total; first come, first served."""

    def __init__(self, limit: int, resting: Resting | None = None) -> None:
        # The rest is for what responses need besides their bytes: their making, the requests
        # that wait for room, TLS.
        self.limit = limit * 3 // 4
        self.used = 0
        self._resting = resting or Resting()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._makers = asyncio.Semaphore(_AT_ONCE)
        self._memory = FreeMemory()
        self._loop = asyncio.get_running_loop()

    @asynccontextmanager
    async def making(self) -> AsyncIterator[bool]:
        """Wait for a turn to make a large response; yield whether it was not free at once.

        Raises `RequestError` if that takes too long.
        """
        has_waited = self._makers.locked()
        with self._resting.one():
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._makers.acquire()
            except TimeoutError:
                raise RequestError(_BUSY) from None
        try:
            yield has_waited
        finally:
            self._makers.release()
            self._memory.give_back_once_idle()

    async def take(self, size: int) -> Charge:
        """Take ``size`` bytes once they are free. Raises `RequestError` if that takes too long.

        A small response is charged, but never waits.
        """
        charge = self.take_free(size)
        if charge is None:
            with self._resting.one():
                await self._turn(size)
            charge = Charge(self, size)
        return charge

    def take_now(self, size: int) -> Charge:
        """Take bytes like `take`, but without waiting, for a response that is already made."""
        charge = self.take_free(size)
        if charge is None:
            raise RequestError(_OVERLOADED)
        return charge

    def take_free(self, size: int) -> Charge | None:
        """Take bytes like `take`, or return None if it would wait."""
        if size > SMALL and (self._waiting or not self._fits(size)):
            return None
        self.used += size
        return Charge(self, size)

    def change(self, by: int) -> None:
        """Change the bytes taken by ``by``; may be called from any thread."""
        self.used += by
        if by < 0 and self._waiting and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def has_spare(self, size: int) -> bool:
        """Return whether a quarter of the room would stay free for others."""
        return self.used + size <= self.limit * 3 // 4

    def _fits(self, size: int) -> bool:
        return not self.used or self.used + size <= self.limit

    async def _turn(self, size: int) -> None:
        turn = self._loop.create_future()
        self._waiting.append((size, turn))
        try:
            async with asyncio.timeout(_PATIENCE):
                await turn
        except BaseException as error:
            if turn.cancelled():
                with suppress(ValueError):  # it was passed over
                    self._waiting.remove((size, turn))
                self._wake()
            else:
                self.change(-size)
            if isinstance(error, TimeoutError):
                raise RequestError(_OVERLOADED) from None
            raise

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.used += size
                turn.set_result(None)


class Charge:
    """Bytes that are taken until nothing holds this object."""

    __slots__ = ("_in_flight", "size")

    def __init__(self, in_flight: InFlight, size: int) -> None:
        self._in_flight = in_flight
        self.size = size

    def settle(self, size: int) -> None:
        """Correct the charge to ``size`` bytes."""
        self._in_flight.change(size - self.size)
        self.size = size

    def __del__(self) -> None:
        self._in_flight.change(-self.size)


class Body:
    """The body of a response, in parts that all its clients share."""

    __slots__ = ("charge", "is_gzip", "parts", "size")

    def __init__(
        self, parts: Sequence[bytes], charge: Charge | None = None, *, is_gzip: bool = False
    ) -> None:
        """Settle ``charge`` to the actual size of the body."""
        self.size = sum(map(len, parts))
        self.parts = (b"".join(parts),) if self.size <= _QUICKER_WHOLE else parts
        self.is_gzip = is_gzip
        self.charge = charge
        if charge is not None:
            charge.settle(self.size)
