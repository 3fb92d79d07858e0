"""When a source was observed, as intervals that grow while it is observed again and again."""

from __future__ import annotations

from sessiongate.core.ledger.coverage import Interval

_TOLERANCE = 1.0  # seconds between two clocks, from one observation to the next


class ObservedTimes:
    """The intervals of one source that are not written to the ledger yet, or may still grow."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._growing: Interval | None = None
        self._latest = 0  # the time of the last observation, also of one before the start
        self._at = 0.0  # when that last grew, on the clock `elapsed`
        self._ended: list[Interval] = []  # not written yet

    def restore(self, covered_until: int | None) -> None:
        """Take over when the source was last observed before the start."""
        self._latest = covered_until or 0

    def observe(self, moment: int, at: float, *, is_partial: bool, continues: bool) -> None:
        """Note an observation at a moment, in ns since the epoch and on the clock `elapsed`.

        If it ``continues`` the one before, the time between them counts as observed, too,
        unless the clock was set meanwhile.
        """
        growing, begin = self._growing, moment
        if moment < self._latest:  # the clock was set back: what it shows again is in doubt
            self._ended.append(Interval(self._source, moment, self._latest, is_partial=True))
        self._latest = moment
        goes_on = continues and self._went_on(moment, at)
        self._at = at
        if growing is not None and goes_on:
            if growing.is_partial == is_partial:
                self._growing = growing._replace(end=moment)
                return
            if is_partial:
                begin = growing.end
            else:
                growing = growing._replace(end=moment)
        if growing is not None:
            self._ended.append(growing)
        self._growing = Interval(self._source, begin, moment, is_partial)

    @property
    def intervals(self) -> list[Interval]:
        """All intervals that are not written yet, or may have grown since."""
        return [*self._ended, *([self._growing] if self._growing is not None else ())]

    def until(self, now: int, at: float, *, is_current: bool) -> list[Interval]:
        """Return the same, up to the present if the source is read without a break."""
        found = self.intervals
        if found and is_current and self._went_on(now, at):
            found[-1] = found[-1]._replace(end=max(now, found[-1].end))
        return found

    def _went_on(self, moment: int, at: float) -> bool:
        """Return whether the clock has not been set since the last observation."""
        growing = self._growing
        if growing is None or moment < growing.end:
            return False
        return abs((moment - growing.end) / 1e9 - (at - self._at)) < _TOLERANCE

    def written(self, intervals: list[Interval]) -> None:
        """Forget those that are written and have ended."""
        self._ended = [each for each in self._ended if each not in intervals]
