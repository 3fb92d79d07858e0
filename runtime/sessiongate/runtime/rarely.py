"""Log lines about what others can cause any number of times."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LOG_INTERVAL = 60.0  # seconds between two lines of a kind


class Rarely:
    """Logs one line of a kind per minute, which says how many more there would have been.

    A kind is the text of its line: no part of it may be chosen by whoever causes it.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._said: dict[str, float] = {}  # when last logged
        self._unsaid: dict[str, int] = {}  # how many times since then

    def warn(self, text: str) -> None:
        """Log that it has happened, or count it."""
        now = self._clock()
        if now - self._said.get(text, -LOG_INTERVAL) < LOG_INTERVAL:
            self._unsaid[text] = self._unsaid.get(text, 0) + 1
            return
        self._said[text] = now
        more = self._unsaid.pop(text, 0)
        self._log.warning(
            "%s%s", text, f"; {more} times more since this was last said" * (more > 0)
        )
