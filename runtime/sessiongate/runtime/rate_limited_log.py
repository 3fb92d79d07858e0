"""Rate-limited log lines, for events that clients can cause at will."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LOG_INTERVAL = 60.0  # seconds between two lines of a kind


class RateLimitedLog:
    """Logs one line of a kind per minute, with the number of suppressed ones.

    The kind is the text of the line, so clients must not control any part of it.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._logged: dict[str, float] = {}  # when last logged
        self._suppressed: dict[str, int] = {}  # how many times since then

    def warn(self, text: str) -> None:
        """Log a line, or count it."""
        now = self._clock()
        if now - self._logged.get(text, -LOG_INTERVAL) < LOG_INTERVAL:
            self._suppressed[text] = self._suppressed.get(text, 0) + 1
            return
        self._logged[text] = now
        more = self._suppressed.pop(text, 0)
        self._log.warning(
            "%s%s", text, f"; {more} more times since this was last logged" * (more > 0)
        )
