"""Local times that a server states without their zone.

The zone is configured, or what the server's own data prove: a time that is known to lie
between two moments has one offset from UTC at most, since zones differ by quarters of an
hour. No offset is taken to hold where it was not proven: summer time may have begun since.
"""

from __future__ import annotations

import math
from calendar import timegm
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

# Seconds. Zones are multiples of the first apart, from UTC-12 to UTC+14. Moments that bound
# a time may be off by the second: clocks differ, and answers are on their way.
_STEP = 900
_OFFSETS = range(-12 * 3600, 14 * 3600 + 1, _STEP)
_SLACK = 60.0
_LARGEST_MOVE = 2 * 3600.0  # by which clocks are put back or forward, in Antarctica
# Longer than this nothing is taken to hold that is not proven anew: summer time may have
# come and gone.
_LONGEST_GAP = 30 * 86400.0


class ServerZone:
    """Reads a server's local times. All moments are in seconds since the epoch."""

    def __init__(self, zone: ZoneInfo | None = None) -> None:
        """``zone`` is where the server runs; None: its data have to prove that."""
        self.zone = zone
        # Offsets in seconds, each with the moments from and to which it was proven.
        self._proven: list[tuple[int, float, float]] = []

    @property
    def doubt(self) -> str:
        """Why a time may not be certain, and what helps."""
        if self.zone is None:
            return "a local time, and its zone is not known: set timezone=AREA/CITY"
        return f"a local time that {self.zone} had twice"

    @property
    def proofs(self) -> int:
        """How often an offset was proven that is not the last one."""
        return len(self._proven)

    def read(
        self, local: datetime, earliest: float = -math.inf, latest: float = math.inf
    ) -> float | None:
        """The moment of a local time that lies between two moments; None if that is not certain."""
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
        """Of the hour that a clock shows twice, the one of the two that is possible."""
        try:
            moments = {local.replace(tzinfo=self.zone, fold=fold).timestamp() for fold in (0, 1)}
        except OverflowError:  # next to the first or the last year that can be written
            return None
        possible = {each for each in moments if earliest - _SLACK <= each <= latest + _SLACK}
        found = possible if len(moments) > 1 else moments
        return found.pop() if len(found) == 1 else None

    def _is_proven(self, offset: int, moment: float, earliest: float, latest: float) -> bool:
        """Whether the offset held then, and no other can have stood for the same local time.

        Where clocks are put back a local time comes twice: at a moment for which an offset
        is proven, and at another that is possible and for which none is.
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
    """A local time's seconds since the epoch if it were of UTC: the same in every zone."""
    return timegm(local.replace(tzinfo=UTC).timetuple())
