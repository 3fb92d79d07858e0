"""Compares this machine's clock with the ledger's server's: times that cores write must agree."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

MOST_OFF = 1.0  # seconds that a core's clock may be off when it becomes active


def is_wrong(off: float) -> bool:
    """Return whether a clock is too far off for a core that becomes active."""
    return abs(off) > MOST_OFF


class ClockWatch:
    """Bounds on the difference; times are in seconds since the epoch."""

    def __init__(self) -> None:
        self.off = 0.0  # by which this machine's clock is ahead of the server's, at least

    @property
    def trouble(self) -> str:
        """Why this core must not become active; empty if it may."""
        if not is_wrong(self.off):
            return ""
        way = "ahead of" if self.off > 0 else "behind"
        return (
            f"this machine's clock is {abs(self.off):.1f} s {way} that of the ledger's server: this"
            f" core does not become active until they agree within {MOST_OFF:g} s; set the one that"
            " is wrong, such as by NTP"
        )

    def compare(self, asked: float, server: float, received: float) -> None:
        """Note what the server's clock showed between two times of this machine's.

        However long the answer took: only what that cannot explain counts.
        """
        was_off = bool(self.trouble)
        self.off = max(0.0, asked - server) + min(0.0, received - server)
        if self.trouble and not was_off:
            log.error("%s", self.trouble)
        elif was_off and not self.trouble:
            log.warning("this machine's clock agrees with that of the ledger's server again")
