"""How the times of a session are read, some of which state no zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sessiongate.core.sources.support.serverzone import ServerZone


class Times(Protocol):
    """How the times of a session are read. Moments are in seconds since the epoch."""

    @property
    def moment(self) -> float:
        """When the document was true: ``idle`` counts back from it."""

    @property
    def doubt(self) -> str:
        """Why a local time may not be certain."""

    def start(self, local: datetime) -> float | None:
        """When a session began, by its server's local time; None if that is not certain."""

    def of_statement(self, text: str, local: datetime, start: float) -> float | None:
        """The same of a time of a statement of a session that began then at the earliest."""


@dataclass(frozen=True, slots=True)
class DocumentTimes:
    """The times of a document that was true at a moment."""

    moment: float
    zone: ServerZone

    @property
    def doubt(self) -> str:
        return self.zone.doubt

    def start(self, local: datetime) -> float | None:
        return self.zone.read(local)

    def of_statement(self, text: str, local: datetime, start: float) -> float | None:
        return self.zone.read(local, start)
