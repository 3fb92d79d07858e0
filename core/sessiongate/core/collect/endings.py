"""Finds out how the sessions of one source ended: seen to end, or not."""

from __future__ import annotations

from collections.abc import Callable

from sessiongate.core.collect.shown_source import ShownSource
from sessiongate.core.collect.terminations import Terminations
from sessiongate.core.ledger.past import USUAL_REASON, Closing
from sessiongate.core.place import id_of, time_of
from sessiongate.core.sources.support.pacing import Pace, mapped
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.memory import untrack
from sessiongate.v1.history_service_pb2 import EndReason


class Endings:
    """The ends of sessions between two observations, as far as they are known."""

    def __init__(
        self, shown_source: ShownSource, now: Callable[[], int], terminations: Terminations
    ) -> None:
        self._shown_source = shown_source
        self._terminations = terminations
        self._now = now
        # When the source was last observed, and when before the start, in ns since the epoch.
        self.moment = 0
        self._covered_until: int | None = None
        # By id, of sessions that were seen before the clock was set back: the latest time.
        self._seen_until: dict[int, int] = {}

    def restore(self, covered_until: int | None) -> None:
        """Take over when the source was last observed before the start."""
        self._covered_until = covered_until
        self.moment = covered_until or 0

    async def observe(self, moment: int, pace: Pace) -> None:
        """Note that an observation was received at a moment, in ns since the epoch."""
        if moment < self.moment:
            before = self._seen_until
            seen_until: dict[int, int] = {}

            def note(place: int) -> None:
                ident = id_of(place)
                seen_until[ident] = max(self.moment, before.get(ident, 0))

            # Sessions are held and dropped only while an observation is taken over, which this is.
            await mapped(note, self._shown_source.held.values(), pace)
            self._seen_until = seen_until
        self.moment = moment

    def closing(
        self, key: str, replaced: EndReason | None, observed_at: float, *, continues: bool
    ) -> Closing:
        """Return what the ledger keeps of a session that has ended.

        ``replaced`` is why none of the source's sessions is left, if so. The source was
        observed before at ``observed_at``, on the clock `elapsed`; the last observation
        ``continues`` that one, unless the source could not be read between them.
        """
        shown_source = self._shown_source
        place = shown_source.held[key]
        last, longest = shown_source.last_seen(key)
        reason, seen = replaced, None
        if reason is None and continues and key not in shown_source.absent:
            reason = USUAL_REASON
        elif reason is None:
            reason = EndReason.END_REASON_NOT_SEEN
            since = shown_source.absent.get(key, observed_at)
            seen = self._moment(since) if since else self._covered_until or time_of(place)
        ident = id_of(place)
        by = self._terminations.by(ident)
        if by is not None and replaced is None:
            reason, seen = EndReason.END_REASON_TERMINATED, None
        closing = Closing(
            *(ident, time_of(place), last, reason, seen, longest),
            not_before=self._seen_until.get(ident, 0),
            ended_by=by if reason == EndReason.END_REASON_TERMINATED else None,
        )
        untrack(closing)
        return closing

    def _moment(self, time: float) -> int:
        """Return a moment on the clock `elapsed` as ns since the epoch."""
        return self._now() - int((elapsed() - time) * 1e9)
