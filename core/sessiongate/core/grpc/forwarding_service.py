"""The gRPC servicer of SessionActionService in a front, which hands acts to cores."""

from __future__ import annotations

import grpc

from sessiongate.client.errors import CallError
from sessiongate.core.actions.attempt import ActionCaller
from sessiongate.core.errors import (
    ActionNotAllowedError,
    ActionNotSupportedError,
    ActionRefusedError,
    AuditUnavailableError,
    CoreError,
    NoStatementError,
    OperatorRequiredError,
    SessionChangedError,
    SessionNotFoundError,
    SourceUnreachableError,
    TooManyActionsError,
)
from sessiongate.core.follow.acting import ForwardedActions
from sessiongate.core.grpc.action_caller import action_caller
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.service import answering
from sessiongate.core.grpc.status import STATUS_MAPPINGS
from sessiongate.runtime.auth.identity import caller_address
from sessiongate.v1.session_action_service_pb2 import (
    CancelStatementRequest,
    CancelStatementResponse,
    TerminateSessionRequest,
    TerminateSessionResponse,
)
from sessiongate.v1.session_action_service_pb2_grpc import SessionActionServiceServicer

# Errors of a core by which it says that nothing was done, by their reasons.
_REFUSALS: dict[str, type[CoreError]] = {
    STATUS_MAPPINGS[kind].reason: kind
    for kind in (
        *(ActionNotAllowedError, ActionNotSupportedError, ActionRefusedError),
        *(AuditUnavailableError, NoStatementError, OperatorRequiredError, SessionChangedError),
        *(SessionNotFoundError, SourceUnreachableError, TooManyActionsError),
    )
}


class ForwardingActionService(SessionActionServiceServicer):
    """sessiongate.v1.SessionActionService over `ForwardedActions`."""

    def __init__(self, actions: ForwardedActions, *, insecure: bool) -> None:
        """Take every caller for an operator if none has to authenticate and it is ``insecure``."""
        self._actions = actions
        self._insecure = insecure

    @answering
    async def TerminateSession(
        self, request: TerminateSessionRequest, context: CallContext
    ) -> TerminateSessionResponse:
        return await self._actions.terminate(request, self._caller(context))

    @answering
    async def CancelStatement(
        self, request: CancelStatementRequest, context: CallContext
    ) -> CancelStatementResponse:
        return await self._actions.cancel(request, self._caller(context))

    def _caller(self, context: CallContext) -> ActionCaller:
        """Return the caller; note where it calls from, for the core."""
        caller = action_caller(context, insecure=self._insecure)
        caller_address.set(caller.address)
        return caller


def refusal_of(error: CallError) -> CoreError | None:
    """Return a core's refusal to act as this front's; None if that is no refusal."""
    kind = _REFUSALS.get(error.reason or "")
    if kind is not None:
        return kind(str(error), **error.metadata)
    if error.code is grpc.StatusCode.UNIMPLEMENTED:
        return ActionNotAllowedError("the core that reads the session's source lets nobody act")
    return None
