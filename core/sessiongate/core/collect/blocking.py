"""Which sessions wait for which others of their source, by the keys that it states."""

from __future__ import annotations

from collections.abc import Iterable, Set

from sessiongate.core.collect.keys import short
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.pacing import Pace, kept


async def waited_for(items: Iterable[Observed], pace: Pace) -> Set[str]:
    """Return the keys of the sessions that these wait for."""
    keys: set[str] = set()
    for item in await kept(lambda item: bool(item.blocked_by), items, pace):
        keys.update(map(short, item.blocked_by))
        await pace.pause()
    return keys


def waits_for(item: Observed, keys: set[str]) -> bool:
    """Return whether a session waits for one with any of these keys."""
    return not keys.isdisjoint(map(short, item.blocked_by))
