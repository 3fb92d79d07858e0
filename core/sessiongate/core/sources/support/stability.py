"""Reuse of unchanged sessions and times between observations.

Sources state when something happened as an age, by their own clock and in steps of
their own. Subtracted from this machine's clock, it gives a slightly different time at
each observation. Such differences alone must not change a session.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_

from sessiongate.core.sources.base import Observation, Observed, Unreadable
from sessiongate.v1.session_service_pb2 import ServiceStatus

# Seconds. More than one step of a source that counts whole seconds, plus the time that
# a response takes to arrive.
TOLERANCE = 1.5


def debounce(time: float, before: float | None) -> float:
    """Return ``before``, the last observation's time, if within `TOLERANCE`, else ``time``."""
    return time if before is None or abs(time - before) > TOLERANCE else before


def reuse_if_same(
    last: Observation | None,
    sessions: Sequence[Observed],
    incarnation: float | None,
    unreadable: tuple[Unreadable, ...] = (),
    partial: str = "",
    services: tuple[ServiceStatus, ...] = (),
) -> Observation:
    """Return the last observation if nothing changed, not even a session object, else a new one."""
    if (
        last is not None
        and (last.incarnation, last.unreadable, last.partial) == (incarnation, unreadable, partial)
        and last.services == services
        and len(last.sessions) == len(sessions)
        and all(map(is_, last.sessions, sessions))
    ):
        return last
    return Observation(sessions, incarnation, unreadable, partial, services)
