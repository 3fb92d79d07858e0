"""Which past sessions a ledger keeps, and by which clock."""

from __future__ import annotations

import logging
from dataclasses import dataclass

log = logging.getLogger(__name__)

_STEP = 24 * 3600 * 10**9  # ns that a clock may be ahead of what it has to show
CONFIRMING = 3600.0  # seconds that a clock that is further ahead must run


@dataclass(frozen=True, slots=True)
class HistoryPolicy:
    """Which past sessions are kept; times in ns."""

    age: int | None = 30 * 24 * 3600 * 10**9  # since they ended; None keeps none
    most_bytes: int = 2 << 30  # of the database
    shortest: int = 0  # that a session must have lasted

    @property
    def least_duration(self) -> int | None:
        """How long a session must have lasted to be kept; None if none is kept."""
        return None if self.age is None else self.shortest

    def horizon(self, now: int) -> int:
        """Return the time until which, by age, no ends are kept."""
        return now - (self.age or 0)


class ConfirmedClock:
    """The clock by which past sessions grow old.

    One that was set far ahead by mistake would have all of them dropped at once. So a step of
    more than a day counts only once the clock has gone on from there for an hour.
    """

    def __init__(self, time: int | None) -> None:
        """Start from the last confirmed ``time``, in ns since the epoch, if there is one."""
        self._time = time
        self._at: float | None = None  # when that was, on the clock `elapsed`
        self._doubted_since: float | None = None  # likewise

    def read(self, now: int, at: float) -> int:
        """Return the confirmed time, if the clock shows ``now``; ``at`` is on `elapsed`."""
        expected = now
        if self._time is not None:
            expected = self._time + int((at - (at if self._at is None else self._at)) * 1e9)
        if now - expected <= _STEP:
            self._doubted_since = None
        elif self._doubted_since is None:
            self._doubted_since = at
            days = (now - expected) / _STEP
            log.warning(
                "the clock is %.0f days ahead of what the ledger last noted: if it goes on like"
                " this for an hour, sessions that are too old by it are dropped",
                days,
            )
        is_doubted = self._doubted_since is not None and at - self._doubted_since < CONFIRMING
        self._time, self._at = expected if is_doubted else now, at
        return self._time
