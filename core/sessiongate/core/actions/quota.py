"""A limit on the rate of actions."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from sessiongate.core.errors import TooManyActionsError

_MOST = 10_000  # subjects that are remembered
_MINUTE = 60.0


class ActionQuota:
    """Admits a number of actions per minute for each subject: a caller, or a source.

    As many may come at once; after that, one whenever its share of a minute has passed.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        # When each subject may again do as many as it ever may. Those who tried last are last.
        self._full: OrderedDict[Hashable, float] = OrderedDict()

    def take(self, subject: Hashable, name: str) -> None:
        """Count an action of a subject, called ``name``. Raises `TooManyActionsError`."""
        now, share = self._clock(), _MINUTE / self._per_minute
        full = max(self._full.get(subject, now), now) + share
        wait = full - now - _MINUTE
        if wait > share / 1000:  # not because of the way that a float is rounded
            seconds = math.ceil(wait)
            raise TooManyActionsError(
                f"too many actions {name}: at most {self._per_minute} per minute (max_actions);"
                f" retry in {seconds} s",
                retry_after=str(seconds),
            )
        self._full[subject] = full
        self._full.move_to_end(subject)
        if len(self._full) > _MOST:
            self._full.popitem(last=False)
