"""What stays the same from one observation to the next, although it was read anew.

Sources tell when something happened as "so long ago", measured by their clock
and in their steps. Counted back from this clock it comes out a little different
each time. What only the clock changes must not change a session.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_

from sessiongate.core.sources.base import Observation, Observed, Unreadable
from sessiongate.v1.session_service_pb2 import ServiceStatus

# Seconds. More than one step of a source that counts whole seconds, and the
# time that an answer is on its way.
TOLERANCE = 1.5


def debounce(time: float, before: float | None) -> float:
    """``time``, or the one of the last observation where it is as good as that."""
    return time if before is None or abs(time - before) > TOLERANCE else before


def reuse_if_same(
    last: Observation | None,
    sessions: Sequence[Observed],
    incarnation: float | None,
    unreadable: tuple[Unreadable, ...] = (),
    partial: str = "",
    services: tuple[ServiceStatus, ...] = (),
) -> Observation:
    """The last observation itself where it is of the very same sessions, else a new one."""
    if (
        last is not None
        and (last.incarnation, last.unreadable, last.partial) == (incarnation, unreadable, partial)
        and last.services == services
        and len(last.sessions) == len(sessions)
        and all(map(is_, last.sessions, sessions))
    ):
        return last
    return Observation(sessions, incarnation, unreadable, partial, services)
