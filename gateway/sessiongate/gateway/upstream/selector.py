"""Which sessions a request asks its view for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.duration_pb2 import Duration

from sessiongate.gateway.http.work import LIGHT_ROWS
from sessiongate.gateway.representation.row import FIELDS, SessionRow
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import ActivityState, SessionState
from sessiongate.v1.session_service_pb2 import SessionFilter

AGES = ("min_idle", "min_activity_duration")


@dataclass(frozen=True, slots=True)
class Selector:
    """Which sessions to return, by what their resource objects show. An empty set allows all.

    The sets are by the fields of the replica's indexes; the core's filter has fields of these
    names.
    """

    services: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    states: frozenset[SessionState] = frozenset()
    sources: frozenset[str] = frozenset()
    databases: frozenset[str] = frozenset()
    applications: frozenset[str] = frozenset()
    remotes: frozenset[str] = frozenset()
    activities: frozenset[ActivityState] = frozenset()
    # Seconds. What matches depends on the clock: only the core finds it, in its orders by time.
    min_idle: float | None = None
    min_activity_duration: float | None = None

    def __bool__(self) -> bool:
        return self.depends_on_clock or bool(self.wanted())

    @property
    def depends_on_clock(self) -> bool:
        """Whether the same session may match at one time and not at another."""
        return any(getattr(self, name) is not None for name in AGES)

    @property
    def is_exact(self) -> bool:
        """Whether the core's filter matches the same sessions, not others, too.

        Sources are shown only with native ids; remotes are texts here, and addresses there;
        a core may know states that are unknown here.
        """
        is_odd = SessionState.SESSION_STATE_UNSPECIFIED in self.states
        return not (self.sources or self.remotes or is_odd)

    def wanted(self) -> dict[str, frozenset[Any]]:
        """Return the values that are allowed, by field."""
        values = {name: getattr(self, name) for name in FIELDS}
        return {name: allowed for name, allowed in values.items() if allowed}

    def filter(self) -> SessionFilter | None:
        """Return a filter of the core that matches the same sessions, and others if not exact."""
        wanted = self.wanted()
        wanted.pop("remotes", None)
        if SessionState.SESSION_STATE_UNSPECIFIED in self.states:
            del wanted["states"]
        values: dict[str, Any] = {name: sorted(allowed) for name, allowed in wanted.items()}
        for name in AGES:
            if (seconds := getattr(self, name)) is not None:
                values[name] = Duration()
                values[name].FromNanoseconds(round(seconds * 1e9))
        return SessionFilter(**values) if values else None


EVERYTHING = Selector()


def matching(rows: Iterable[SessionRow], selector: Selector) -> Steps[list[SessionRow]]:
    """Return the rows that match."""
    wanted = [(FIELDS.index(name), allowed) for name, allowed in selector.wanted().items()]
    found = []
    for number, row in enumerate(rows):
        if number % LIGHT_ROWS == 0:
            yield
        values = row.values
        if all(values[field] in allowed for field, allowed in wanted):
            found.append(row)
    return found
