"""A copy of a core's sessions that is kept current, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sessiongate.client.cores import ONE_CORE, SILENCE, Cores
from sessiongate.client.errors import CallError
from sessiongate.client.reflector import Began, Event, Lost, Reflector
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    SessionFilter,
    SourceStatus,
    WatchSessionsResponse,
)


class SessionChange(NamedTuple):
    """A session before and after a change; None if it did not, or does not, exist."""

    old: Session | None
    new: Session | None


class Update(NamedTuple):
    """One step of a copy."""

    copy: SessionCopy
    changes: Sequence[SessionChange]  # in the order of ids; may be empty
    lost: CallError | None = None  # why the core cannot be followed now; it is called again


class SessionCopy:
    """Sessions by id and sources by name, as they were at one revision of the core's table."""

    def __init__(
        self,
        filter: SessionFilter | None = None,
        *,
        staleness: float = SILENCE,
        cores: Cores = ONE_CORE,
    ) -> None:
        """Hold nothing yet. ``staleness`` is in seconds: see `Reflector`."""
        self.reflector = Reflector(self._resume_revision, filter, staleness=staleness, cores=cores)
        self.revision = 0
        self._sessions: dict[int, Session] = {}
        self._sources: dict[str, SourceStatus] = {}
        self._pending: list[WatchSessionsResponse] = []  # since the last state
        self._is_restarting = True

    @property
    def sessions(self) -> Mapping[int, Session]:
        """The sessions by id. The mapping changes with the copy."""
        return MappingProxyType(self._sessions)

    @property
    def sources(self) -> Mapping[str, SourceStatus]:
        """The state of each source, by name. The mapping changes with the copy."""
        return MappingProxyType(self._sources)

    @property
    def age(self) -> float | None:
        """An upper bound on the copy's age, in seconds; None if nothing proves one."""
        return self.reflector.age

    def take(self, event: Event) -> Update | None:
        """Take an event of the reflector; return an update once there is one."""
        if isinstance(event, Lost):
            return Update(self, (), event.error)
        if isinstance(event, Began):
            self._pending.clear()
            self._is_restarting = not event.resumed
            return None
        self._pending.append(event)
        if not event.HasField("as_of"):
            return None  # the core's table was not in the state that this would produce
        changes = self._apply()
        self.revision = event.revision
        return Update(self, changes)

    def _resume_revision(self) -> int:
        return 0 if self._is_restarting else self.revision

    def _apply(self) -> Sequence[SessionChange]:
        before: dict[int, Session | None] = {}
        if self._is_restarting:
            before |= self._sessions
            self._sessions.clear()
            self._sources.clear()
            self._is_restarting = False
        for message in self._pending:
            for removal in message.changes.removals:
                gone = self._sessions.pop(removal.id, None)
                before.setdefault(removal.id, gone)
            for upserts in (message.snapshot.sessions, message.changes.upserts):
                for session in upserts:
                    before.setdefault(session.id, self._sessions.get(session.id))
                    self._sessions[session.id] = session
            for sources in (message.sync.sources, message.changes.sources):
                self._sources.update({status.name: status for status in sources})
            for name in message.changes.removed_sources:
                self._sources.pop(name, None)
        self._pending.clear()
        changes = [
            SessionChange(old, self._sessions.get(ident)) for ident, old in sorted(before.items())
        ]
        return [change for change in changes if _differs(change)]


def _differs(change: SessionChange) -> bool:
    old, new = change
    if old is None or new is None:
        return old is not new
    return old.revision != new.revision
