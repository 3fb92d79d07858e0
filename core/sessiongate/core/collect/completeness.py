"""The share of a source that an observation covers."""

from __future__ import annotations

from dataclasses import dataclass

from sessiongate.core.collect.difference import Difference
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


class UnreadableMembers:
    """The sessions with members that could not be read."""

    def __init__(self) -> None:
        self._items: dict[Observed, None] = {}  # in the order in which they were shown
        self.count = 0  # of members

    def add(self, item: Observed) -> None:
        if item.unreadable:
            self._items[item] = None
            self.count += len(item.unreadable)

    def discard(self, item: Observed) -> None:
        if item in self._items:
            del self._items[item]
            self.count -= len(item.unreadable)

    def clear(self) -> None:
        self._items.clear()
        self.count = 0

    @property
    def example(self) -> str:
        """The text of one of them; empty if there are none."""
        return next((item.unreadable[0].text for item in self._items), "")


def assess(observation: Observation, found: Difference, max_sessions: int) -> Completeness:
    """Return the completeness of an observation, without its sessions' members."""
    lost = len(observation.unreadable) + found.repeated
    example = "two sessions with the same identity" if found.repeated else ""
    if observation.unreadable:
        example = observation.unreadable[0].text
    reasons = [
        observation.partial,
        f"only max_sessions={max_sessions} are shown" if found.left_out else "",
        "some sessions could not be read" if lost else "",
    ]
    return Completeness(
        sessions=lost,
        example=printable(example),
        truncated=found.left_out > 0,
        partial=printable("; ".join(filter(None, reasons))),
    )
