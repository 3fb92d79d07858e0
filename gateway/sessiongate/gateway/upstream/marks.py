"""How old a copy of the core's sessions is at most: what the marks of one stream prove.

A mark is a message that carries ``as_of``. It says: so many seconds after the core began
the stream, on the core's clock, the table was what the copy is once the mark is applied.
The mark's moment on this clock is what has to be bounded from below:

- The core began the stream after the request was sent. So the mark was made at ``sent +
  as_of`` or later, and the copy is at most ``now - sent - as_of`` old. Nothing that lies
  between the two makes that wrong, whatever it delays. It errs on the old side only, by
  what the request took to begin a stream. That never gets less on the same stream: a copy
  that it makes look old is renewed on another one (`AgeBound.is_worn`).
- The mark was made before it came, so that the stream began at ``received - as_of`` at the
  latest. Where that is before ``sent``, one clock runs faster than the other, or stood
  still: the earlier counts from then on. What clocks can drift apart between two streams is
  all that is left, and they are not let drift for longer than `RENEWAL_INTERVAL`.

Both clocks go on while their machine sleeps and while their process is stopped.
"""

from __future__ import annotations

from collections.abc import Callable

from sessiongate.gateway.representation.row import seconds_of
from sessiongate.v1.session_service_pb2 import WatchSessionsResponse

Clock = Callable[[], float]

# Seconds after which a stream is renewed in any case. Clocks that are set by NTP drift apart
# by less than 1 ms a second: 60 ms.
RENEWAL_INTERVAL = 60.0


class AgeBound:
    """The marks of one stream. To be made before its request is sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent = self._began = clock()
        self._as_of: float | None = None

    @property
    def age(self) -> float | None:
        """How old the copy is at most, in seconds; None before the first mark."""
        return None if self._as_of is None else self._clock() - self._began - self._as_of

    def note(self, message: WatchSessionsResponse) -> bool:
        """Take a message that has just come; whether it is a mark."""
        if not message.HasField("as_of"):
            return False
        self._as_of = seconds_of(message.as_of)
        self._began = min(self._began, self._clock() - self._as_of)
        return True

    def is_worn(self, age: float, unrenewed: float) -> bool:
        """Whether another stream could prove more.

        This one makes the copy look older than ``age``, and has lasted for ``unrenewed``
        seconds; or it has lasted for `RENEWAL_INTERVAL`.
        """
        lasted = self._clock() - self._sent
        return lasted >= RENEWAL_INTERVAL or (
            lasted >= unrenewed and self.age is not None and self.age > age
        )
