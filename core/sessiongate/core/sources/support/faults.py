"""Unreadable sessions of a response: the first ones are described, the others counted."""

from __future__ import annotations

from sessiongate.core.sources.base import Unreadable

_NAMED = 100
_FURTHER = Unreadable("another session")


class Faults:
    """The unreadable sessions of one response."""

    def __init__(self) -> None:
        self.all: list[Unreadable] = []

    def note(self, fault: str) -> None:
        """Record that a session cannot be read, and why."""
        self.all.append(Unreadable(fault) if len(self.all) < _NAMED else _FURTHER)
