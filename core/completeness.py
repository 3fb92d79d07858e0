"""How much of a source an observation is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Completeness:
    """How much of a source the last observation was."""

    sessions: int = 0  # that could not be read
    members: int = 0  # of other sessions, that could not be read
    example: str = ""  # of those: the place, and what was expected
    truncated: bool = False
    partial: str = ""  # why it was not of all sessions
