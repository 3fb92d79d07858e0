"""One attempt to act on a session, for the audit log and the metrics."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sessiongate.core.actions.request import ActionRequest
from sessiongate.core.errors import CoreError, OperatorRequiredError
from sessiongate.v1.session_pb2 import Session

# Outcomes of an attempt, besides the errors.
WAITING = "waiting"  # until its grace is over
BEGUN = "begun"  # what became of it follows in another line, unless the core was killed
DONE = "done"  # the server has confirmed it
UNCERTAIN = "uncertain"  # the server did not answer
ABANDONED = "abandoned"  # the core stopped before
FAILED = "failed"  # unexpectedly; the log has the cause
HIT_ANOTHER = "hit_another"  # another session was ended in its place

_MOST = 1000  # characters of a text
_CAPITAL = re.compile("(?<=[a-z])(?=[A-Z])")
# Fields of a session in the audit log.
_SESSION = ("native_id", "user", "remote", "port", "service", "database", "application")


@dataclass(frozen=True, slots=True)
class ActionCaller:
    """The caller of an action, and its address."""

    name: str  # empty if callers need not authenticate
    proof: str  # the kind of its credentials; empty without any
    address: str
    is_operator: bool
    request_id: str

    @property
    def subject(self) -> tuple[str, str]:
        """Who counts as the same caller."""
        return (self.proof, self.name) if self.proof else ("", self.address)

    def require_operator(self) -> None:
        """Raise `OperatorRequiredError` unless the caller is one."""
        if not self.is_operator:
            raise OperatorRequiredError


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt."""

    request: ActionRequest
    caller: ActionCaller
    session: Session | None  # as it was shown, if it was
    # Its grace has begun, or what is being done to the session: that goes on without the caller.
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def source(self) -> str:
        """The source of the session; empty if no session has this id."""
        return "" if self.session is None else self.session.source

    def message(self, outcome: str) -> str:
        """Say in one line what has become of it."""
        request = self.request
        return f"{request.action} session {request.id}: {outcome}"

    def members(self, outcome: str, detail: str) -> dict[str, object]:
        """Return a line of the audit log."""
        request, caller, session = self.request, self.caller, self.session
        described: dict[str, object] = {}
        if session is not None:
            described = {
                name: _shortened(getattr(session, name))
                for name in _SESSION
                if name == "service" or session.HasField(name)
            }
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "action": str(request.action),
            "outcome": outcome,
            "detail": _shortened(detail),
            "operator": caller.name,
            "proof": caller.proof,
            "address": caller.address,
            "request_id": caller.request_id,
            "grace": request.grace,
            "session": {"id": request.id, "source": self.source, **described},
        }


def _shortened(value: str | int) -> str | int:
    """Return as much of a text as a line of the audit log has."""
    return value[:_MOST] if isinstance(value, str) else value


def outcome_of(error: CoreError) -> str:
    """Return the word for an error: its reason in the contract, in lower case."""
    return _CAPITAL.sub("_", type(error).__name__.removesuffix("Error")).lower()
