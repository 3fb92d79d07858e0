"""Sessions that somebody has had terminated, until they are seen to have ended."""

from __future__ import annotations

from collections.abc import Callable

from sessiongate.runtime.elapsed import elapsed

# Seconds after which a session that ends has ended by itself. A server may take long to undo a
# transaction.
WITHIN = 60.0


class Terminations:
    """The sessions that were terminated lately, and by whom."""

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        # By id: by whom, and until when that is the reason if the session ends.
        self._noted: dict[int, tuple[str, float]] = {}

    def note(self, ident: int, by: str) -> None:
        """Note that a session is being terminated."""
        now = self._clock()
        self._noted = {key: noted for key, noted in self._noted.items() if noted[1] > now}
        self._noted[ident] = by, now + WITHIN

    def forget(self, ident: int) -> None:
        """Forget it, because it was not done."""
        self._noted.pop(ident, None)

    def by(self, ident: int) -> str | None:
        """Return who had a session terminated that has ended; None if nobody did.

        It is asked again if that could not be written: so it counts for as long again.
        """
        by, until = self._noted.get(ident, ("", 0.0))
        now = self._clock()
        if now >= until:
            return None
        self._noted[ident] = by, now + WITHIN
        return by
