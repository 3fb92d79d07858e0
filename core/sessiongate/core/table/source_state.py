"""The state of a source in the table."""

from __future__ import annotations

from dataclasses import dataclass

from sessiongate.v1.session_service_pb2 import ServiceStatus, SourceStatus


@dataclass(frozen=True, slots=True)
class SourceState:
    """The current state of a source."""

    name: str
    tried: bool = False  # it has been read or has failed since the core started
    reachable: bool = False  # its last observation succeeded
    error: str = ""  # why the last observation failed
    partial: str = ""  # why the last observation did not cover all sessions
    services: tuple[ServiceStatus, ...] = ()  # as last reported, by name

    @property
    def status(self) -> SourceStatus:
        """The state as a message of the contract."""
        return SourceStatus(
            name=self.name,
            reachable=self.reachable,
            error=self.error,
            partial=self.partial,
            services=self.services,
        )
