"""Changes of one source's sessions that become visible together."""

from __future__ import annotations

from typing import NamedTuple

from sessiongate.core.collect.links import Stated
from sessiongate.core.collect.preparation import PreparedSession
from sessiongate.core.sources.base import Observed
from sessiongate.core.table.draft import STEP_BYTES, STEP_CHANGES


class Entry(NamedTuple):
    """The change of one session."""

    key: str
    item: Observed | None  # None if it ends
    place: int  # `core.place`; the one that it had if it ends
    former: str  # its key so far


class SourceStep:
    """The changes."""

    def __init__(self, seen: tuple[int, int]) -> None:
        self.seen = seen  # the state of table and links before it was prepared
        self.entries: list[Entry] = []
        self.ready: list[PreparedSession] = []  # those of them that do not end
        self.bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether readers could not take more at once."""
        return len(self.entries) >= STEP_CHANGES or self.bytes >= STEP_BYTES


class Effects:
    """The changes that a step makes to links and the table."""

    def __init__(self) -> None:
        self.withdrawn: list[Stated] = []
        self.added: list[Stated] = []
        self.removals: list[int] = []
