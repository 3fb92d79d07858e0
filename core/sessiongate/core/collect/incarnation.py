"""The server that one source reads: when it started, and from where it is read."""

from __future__ import annotations

from sessiongate.v1.history_service_pb2 import EndReason

# A server's stated start may move by this many seconds without a restart.
INCARNATION_TOLERANCE = 2.0
# Between two cores, whose clocks may differ: some servers state how long they have run, and their
# start is inferred from the core's clock.
HANDED_OVER_TOLERANCE = 10.0
_WORTH_WRITING = INCARNATION_TOLERANCE / 2


class Incarnation:
    """The server's start as last stated, and as in the ledger.

    Clocks drift, and a drift that is followed step by step is never mistaken for a restart.
    Starts are in seconds since the epoch; None is unknown.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.former_place: str | None = None  # where it was read from, according to the ledger
        self._stated: float | None = None
        self._written: float | None = None
        self._is_restored = False  # what is stated is by another start of a core

    def restore(self, place: str | None, start: float | None) -> None:
        """Take over what is in the ledger."""
        self.former_place = place
        self._stated = self._written = start
        self._is_restored = True

    @property
    def stated(self) -> float | None:
        """The start as last stated."""
        return self._stated

    @property
    def is_elsewhere(self) -> bool:
        """Whether the place is another one than in the ledger, or not in it."""
        return self.former_place != self.place

    @property
    def is_moved(self) -> bool:
        """Whether the source is read from another place than the sessions in the ledger."""
        return self.former_place is not None and self.is_elsewhere

    def replaced(self, start: float | None) -> EndReason | None:
        """Return why no known session still exists, if so: a restart, or another server."""
        if start is None or self._stated is None:
            has_gone = self.is_moved
        else:
            tolerance = HANDED_OVER_TOLERANCE if self._is_restored else INCARNATION_TOLERANCE
            has_gone = abs(start - self._stated) > tolerance
        if not has_gone:
            return None
        restarted = EndReason.END_REASON_SOURCE_RESTARTED
        return EndReason.END_REASON_REPLACED if self.is_moved else restarted

    def has_drifted(self, start: float | None) -> bool:
        """Return whether to update the server's start in the ledger."""
        if start is None:
            return False
        return self._written is None or abs(start - self._written) > _WORTH_WRITING

    def take(self, start: float | None, *, is_written: bool) -> None:
        """Take over the start that was stated."""
        if start is not None:
            self._stated, self._is_restored = start, False
        if is_written:
            self._written = start
