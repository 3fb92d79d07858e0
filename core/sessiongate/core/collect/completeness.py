"""The share of a source that an observation covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sessiongate.core.collect.truncation import printable
from sessiongate.core.sources.base import Observation, Observed


@dataclass(frozen=True, slots=True)
class Completeness:
    """The share of a source that the last observation covered."""

    sessions: int = 0  # that could not be read
    members: int = 0  # of other sessions, that could not be read
    example: str = ""  # one of those: the place, and what was expected
    truncated: bool = False
    partial: str = ""  # why it did not cover all sessions; empty if it did


def distinguished(
    pairs: Sequence[tuple[str, Observed]], shown: Mapping[str, Observed]
) -> dict[str, Observed]:
    """Return the sessions by key; of two with the same key, the one shown, else the first."""
    distinct = dict(pairs)
    if len(distinct) < len(pairs):
        distinct |= dict(reversed(pairs))
        distinct |= {key: item for key, item in pairs if item is shown.get(key)}
    return distinct


def assess(
    observation: Observation,
    distinct: Mapping[str, Observed],
    observed: Mapping[str, Observed],
    max_sessions: int,
) -> Completeness:
    """Compare all sessions of a source by key (``distinct``) with those kept (``observed``)."""
    lost = [part.text for part in observation.unreadable]
    lost += ["two sessions with the same identity"] * (len(observation.sessions) - len(distinct))
    members = [part.text for item in observed.values() for part in item.unreadable]
    truncated = len(observed) < len(distinct)
    reasons = [
        observation.partial,
        f"only max_sessions={max_sessions} are shown" if truncated else "",
        "some sessions could not be read" if lost else "",
    ]
    return Completeness(
        sessions=len(lost),
        members=len(members),
        example=printable([*lost, *members][0]) if lost or members else "",
        truncated=truncated,
        partial=printable("; ".join(filter(None, reasons))),
    )
