"""Local times that a server states without their zone.

The zone is configured, or proven by the server's own data: a time that is known to lie
between two close moments has at most one possible offset from UTC, since zones differ by
quarters of an hour. An offset counts only for the time at which it was proven: summer time
may have begun since.
"""

from __future__ import annotations

import math
from calendar import timegm
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

# Seconds. Zones differ by multiples of `_STEP`, from UTC-12 to UTC+14. The moments that bound
# a time may be off by `_SLACK`: clocks differ, and answers take time to arrive.
_STEP = 900
_OFFSETS = range(-12 * 3600, 14 * 3600 + 1, _STEP)
_SLACK = 60.0
_LARGEST_MOVE = 2 * 3600.0  # by which clocks are set back or forward, in Antarctica
# After this long without new proof, an offset counts as unknown in between: summer time may
# have come and gone.
_LONGEST_GAP = 30 * 86400.0


class ServerZone:
    """Reads a server's local times. All moments are in seconds since the epoch."""

    def __init__(self, zone: ZoneInfo | None = None) -> None:
        """Read times in ``zone``, the server's zone; None: its data must prove the zone."""
        self.zone = zone
        # Offsets in seconds, each with the first and last moment for which it was proven.
        self._proven: list[tuple[int, float, float]] = []

    @property
    def doubt(self) -> str:
        """The reason why a time may be uncertain, and how to fix it."""
        if self.zone is None:
            return "a local time in an unknown zone; set timezone=AREA/CITY"
        return f"a local time that occurred twice in {self.zone}"

    @property
    def proofs(self) -> int:
        """The number of times that a new offset, or a new period of one, was proven."""
        return len(self._proven)

    def read(
        self, local: datetime, earliest: float = -math.inf, latest: float = math.inf
    ) -> float | None:
        """Return the moment of a local time between two moments; None if it is uncertain."""
        if self.zone is not None:
            return self._of_zone(local, earliest, latest)
        stated = timegm(local.timetuple()) + local.microsecond / 1e6
        offsets = [
            offset for offset in _OFFSETS if earliest - _SLACK <= stated - offset <= latest + _SLACK
        ]
        if len(offsets) > 1:
            offsets = [
                offset
                for offset in offsets
                if self._is_proven(offset, stated - offset, earliest, latest)
            ]
        if len(offsets) != 1:
            return None
        self._prove(offsets[0], stated - offsets[0])
        return stated - offsets[0]

    def _of_zone(self, local: datetime, earliest: float, latest: float) -> float | None:
        """Read a time in the zone; in an hour that occurs twice, return the possible one."""
        try:
            moments = {local.replace(tzinfo=self.zone, fold=fold).timestamp() for fold in (0, 1)}
        except OverflowError:  # next to the first or the last possible year
            return None
        possible = {each for each in moments if earliest - _SLACK <= each <= latest + _SLACK}
        found = possible if len(moments) > 1 else moments
        return found.pop() if len(found) == 1 else None

    def _is_proven(self, offset: int, moment: float, earliest: float, latest: float) -> bool:
        """Return whether the offset was in effect, and the local time can have had no other.

        When clocks are set back, a local time occurs twice: at a moment for which an offset
        is proven, and at another possible moment for which none is.
        """
        nearest = max(moment - _LARGEST_MOVE, earliest - _SLACK)
        furthest = min(moment + _LARGEST_MOVE, latest + _SLACK)
        return any(
            offset == proven and first - _SLACK <= nearest and furthest <= last + _SLACK
            for proven, first, last in self._proven
        )

    def _prove(self, offset: int, moment: float) -> None:
        known, first, last = self._proven[-1] if self._proven else (None, 0.0, 0.0)
        if known == offset and abs(moment - last) <= _LONGEST_GAP:
            self._proven.pop()
            self._proven.append((offset, min(first, moment), max(last, moment)))
        else:
            self._proven.append((offset, moment, moment))


def seconds_as_utc(local: datetime) -> int:
    """Return a local time's seconds since the epoch as if it were UTC, whatever the zone."""
    return timegm(local.replace(tzinfo=UTC).timetuple())
