"""Reading the times of a session, some of which state no zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sessiongate.core.sources.support.serverzone import ServerZone


class Times(Protocol):
    """Reads the times of a session. Moments are in seconds since the epoch."""

    @property
    def moment(self) -> float:
        """The moment that the document describes, from which ``idle`` counts back."""

    @property
    def doubt(self) -> str:
        """The reason why a local time may be uncertain."""

    def start(self, local: datetime) -> float | None:
        """Read a session's start, in its server's local time; None if it is uncertain."""

    def of_statement(self, text: str, local: datetime, start: float) -> float | None:
        """Read the time of a statement, not before ``start``; None if it is uncertain."""


@dataclass(frozen=True, slots=True)
class DocumentTimes:
    """Reads the times of a document that describes one moment."""

    moment: float
    zone: ServerZone

    @property
    def doubt(self) -> str:
        return self.zone.doubt

    def start(self, local: datetime) -> float | None:
        return self.zone.read(local)

    def of_statement(self, text: str, local: datetime, start: float) -> float | None:
        return self.zone.read(local, start)
