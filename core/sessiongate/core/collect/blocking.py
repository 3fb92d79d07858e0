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


async def waiting_for(
    keys: Set[str], items: Iterable[tuple[str, Observed]], pace: Pace
) -> dict[str, Observed]:
    """Return the sessions, by their keys, that wait for one with any of ``keys``."""

    def waits(pair: tuple[str, Observed]) -> bool:
        return any(short(key) in keys for key in pair[1].blocked_by)

    return dict(await kept(waits, items, pace)) if keys else {}
