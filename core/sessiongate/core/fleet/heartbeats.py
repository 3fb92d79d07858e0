"""Decides whether a core that has a shard's lock hangs, and so may be replaced.

A core counts up its heartbeat while it runs. If the heartbeat stops, that proves nothing by itself:
the server may have stalled, or this program. So this core compares it with its own, which it writes
to the same server, and counts only time in which that went well. No wall clock takes part.
"""

from __future__ import annotations

from dataclasses import dataclass

from sessiongate.core.ledger.postgresql.connection import Backend

ANSWERED_WITHIN = 1.0  # seconds that a look may take, and that may pass until the next one
# How often this core's own heartbeat must have advanced in the time that counts, written as durably
# as what is in a shard: a disk or a standby that hangs holds up the other core, too.
MOVES = 3


@dataclass(frozen=True, slots=True)
class Look:
    """A stand-by's reading of the fleet. Times are on its own clock `elapsed`."""

    asked: float  # before its own heartbeat was written
    received: float
    own: int  # its own heartbeat
    is_durable: bool  # its own is on the disk, and at the standbys that the server waits for
    holder: Backend | None  # of the shard's lock
    beat: int | None  # of the core that states this holder as its pen; None if none does


class HeartbeatWatch:
    """Watches the core that has a lock, by one look after the other."""

    def __init__(self, takeover_after: float) -> None:
        """Give up a core whose heartbeat has not changed for ``takeover_after`` seconds."""
        self._after = takeover_after
        self._first: Look | None = None  # since then, only this core's own heartbeat has changed
        self._last: Look | None = None
        self._moves = 0  # of that since then, as far as they were durable
        self.is_smooth_since: float | None = None  # every look has gone well from then on

    @property
    def stands_still_for(self) -> float:
        """Seconds for which the other core's heartbeat has not changed, as far as that counts."""
        if self._first is None or self._last is None:
            return 0.0
        return max(0.0, self._last.asked - self._first.received)

    def miss(self) -> None:
        """Note that a look has failed."""
        self._first = self._last = self.is_smooth_since = None

    def take(self, look: Look) -> Backend | None:
        """Note a look; return the backend to end, if its core hangs."""
        last, self._last = self._last, look
        if look.received - look.asked > ANSWERED_WITHIN:
            self.miss()
            return None
        if last is None or look.asked - last.received > ANSWERED_WITHIN or look.own <= last.own:
            self._begin(look)
            self.is_smooth_since = look.received
            return None
        first = self._first
        if first is None or (look.holder, look.beat) != (first.holder, first.beat):
            self._begin(look)
            return None
        self._moves += look.is_durable
        if look.holder is None or look.beat is None:
            return None
        if self._moves < MOVES or look.asked - first.received < self._after:
            return None
        return look.holder

    def _begin(self, look: Look) -> None:
        self._first, self._last, self._moves = look, look, 0
