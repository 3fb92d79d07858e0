"""A core that may act on sessions, and what its clients see of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sessiongate.client import Client
from sessiongate.client.errors import CallError
from sessiongate.core.sources.base import (
    ActError,
    ActFault,
    ActingSource,
    Action,
    Source,
    Target,
)
from sessiongate.v1.history_service_pb2 import PastSession
from sessiongate.v1.session_action_service_pb2 import (
    CancelStatementRequest,
    CancelStatementResponse,
    TerminateSessionRequest,
    TerminateSessionResponse,
)
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import SessionFilter
from tests.gateway.programs import running_core
from tests.polling import eventually

PATIENT = 60  # seconds: longer than any wait of the core itself
BOTH = ["cancel", "terminate"]


class Acting:
    """A core's address, a client of it, and its audit log."""

    def __init__(self, address: str, client: Client, audit: Path) -> None:
        self.address = address
        self.client = client
        self._audit = audit

    def session(self, **filters: Any) -> Session:
        """Return the only session that matches, once there is just one."""
        wanted = SessionFilter(**filters)
        (found,) = eventually(lambda: [*self.client.sessions(wanted)], lambda seen: len(seen) == 1)
        return found

    def terminate(self, ident: int, **fields: Any) -> TerminateSessionResponse:
        """End a session."""
        request = TerminateSessionRequest(id=ident, **fields)
        if not request.HasField("max_wait"):
            request.max_wait.FromSeconds(PATIENT)
        return self.client.terminate_session(request)

    def cancel(self, ident: int, **fields: Any) -> CancelStatementResponse:
        """Cancel a session's statement."""
        request = CancelStatementRequest(id=ident, **fields)
        if not request.HasField("max_wait"):
            request.max_wait.FromSeconds(PATIENT)
        return self.client.cancel_statement(request)

    def refusal(self, act: Callable[..., object], ident: int, **fields: Any) -> str | None:
        """Return the reason why an act is refused, which the audit log has, too."""
        with pytest.raises(CallError) as caught:
            act(ident, **fields)
        reason = caught.value.reason
        assert reason is not None, caught.value
        assert self.outcomes()[-1] == reason.lower()
        return reason

    def past(self, ident: int) -> PastSession:
        """Return a session as history has it."""
        return self.client.get_past_session(ident)

    def ids(self) -> set[int]:
        """Return the ids of all sessions."""
        return {session.id for session in self.client.sessions()}

    def audit(self) -> list[dict[str, Any]]:
        """Return the lines of the audit log."""
        if not self._audit.exists():
            return []
        return [json.loads(line) for line in self._audit.read_text().splitlines()]

    def outcomes(self) -> list[str]:
        """Return what became of the attempts, one after the other."""
        return [line["outcome"] for line in self.audit()]


async def struck(source: Source, action: Action, target: Target) -> ActFault | None:
    """Act on a session by its source; return why that was not done, or None."""
    assert isinstance(source, ActingSource)
    try:
        async with source.aim(action, target) as strike:
            await strike()
    except ActError as error:
        return error.fault
    return None


@contextmanager
def acting(
    folder: Path,
    *sources: str | Mapping[str, object],
    metadata: Mapping[str, str] | None = None,
    **settings: object,
) -> Iterator[Acting]:
    """Run a core in which everybody may act, and call it with some metadata."""
    audit = folder / "audit.log"
    settings = {"insecure_actions": True, "audit_log": str(audit), **settings}
    with (
        running_core(*sources, ready=True, **settings) as address,
        Client(address, timeout=PATIENT, metadata=(metadata or {}).items) as client,
    ):
        yield Acting(address, client, audit)
