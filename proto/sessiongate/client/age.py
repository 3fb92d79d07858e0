"""An upper bound on the age of a copy of the core's sessions, from the marks of one stream.

A mark is a message that carries ``as_of``. It says that ``as_of`` seconds after the core
began the stream, on the core's clock, the table was what the copy is once the mark is
applied. A lower bound is needed for the mark's time on this clock:

- The core began the stream after the request was sent. So the mark was made at ``sent +
  as_of`` or later, and the copy is at most ``now - sent - as_of`` old. Nothing between the
  caller and the core makes that wrong, whatever it delays: it only overstates the age, by
  what the request took to begin a stream. That never shrinks on the same stream: a copy
  that it makes look old is renewed on another one (`AgeBound.is_worn`).
- The mark was made before it arrived, so the stream began at ``received - as_of`` at the
  latest. If that is before ``sent``, one clock runs faster than the other, or stood still:
  the earlier time counts from then on. The only error left is the drift between the clocks
  from one stream to the next, and it never lasts longer than `RENEWAL_INTERVAL`.

Both clocks keep running while their machine sleeps and while their process is stopped.
"""

from __future__ import annotations

from collections.abc import Callable

from sessiongate.v1.session_service_pb2 import WatchSessionsResponse
from sessiongate.v1.times import seconds_of

Clock = Callable[[], float]

# Seconds after which a stream is always renewed. Clocks that are set by NTP drift apart by
# less than 1 ms a second: 60 ms.
RENEWAL_INTERVAL = 60.0


class AgeBound:
    """The marks of one stream. Create it before the stream's request is sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent = self._began = clock()
        self._as_of: float | None = None

    @property
    def age(self) -> float | None:
        """An upper bound on the copy's age, in seconds; None before the first mark."""
        return None if self._as_of is None else self._clock() - self._began - self._as_of

    def note(self, message: WatchSessionsResponse) -> bool:
        """Take a message that has just arrived; return whether it is a mark."""
        if not message.HasField("as_of"):
            return False
        self._as_of = seconds_of(message.as_of)
        self._began = min(self._began, self._clock() - self._as_of)
        return True

    def is_worn(self, age: float, unrenewed: float) -> bool:
        """Return whether another stream could prove more.

        True if this one makes the copy look older than ``age`` and has lasted for
        ``unrenewed`` seconds, or if it has lasted for `RENEWAL_INTERVAL`.
        """
        lasted = self._clock() - self._sent
        return lasted >= RENEWAL_INTERVAL or (
            lasted >= unrenewed and self.age is not None and self.age > age
        )
