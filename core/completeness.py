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


def printable(text: str) -> str:
    """A text of a source as the contract can carry it, whatever bytes it was made of."""
    return text.encode(errors="backslashreplace").decode()
