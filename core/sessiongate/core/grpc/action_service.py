"""The gRPC servicer of SessionActionService."""

from __future__ import annotations

from sessiongate.core.actions.actions import Actions
from sessiongate.core.actions.attempt import ActionCaller
from sessiongate.core.actions.request import ActionRequest
from sessiongate.core.grpc.authentication import peer_address
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.service import answering
from sessiongate.runtime.auth.identity import caller, caller_address
from sessiongate.runtime.telemetry.correlation import current
from sessiongate.v1.session_action_service_pb2 import (
    CancelStatementRequest,
    CancelStatementResponse,
    TerminateSessionRequest,
    TerminateSessionResponse,
)
from sessiongate.v1.session_action_service_pb2_grpc import SessionActionServiceServicer

_LONGEST_NAME = 255  # characters of a caller's name that are kept


class SessionActionService(SessionActionServiceServicer):
    """sessiongate.v1.SessionActionService over `Actions`."""

    def __init__(self, actions: Actions, *, insecure: bool) -> None:
        """Take every caller for an operator if none has to authenticate and it is ``insecure``."""
        self._actions = actions
        self._insecure = insecure

    @answering
    async def TerminateSession(
        self, request: TerminateSessionRequest, context: CallContext
    ) -> TerminateSessionResponse:
        result = await self._actions.perform(ActionRequest.terminate(request), self._asker(context))
        return TerminateSessionResponse(
            ended=result.ended,
            revision=result.revision,
            upstream_ids=result.upstream,
            downstream_ids=result.downstream,
        )

    @answering
    async def CancelStatement(
        self, request: CancelStatementRequest, context: CallContext
    ) -> CancelStatementResponse:
        result = await self._actions.perform(ActionRequest.cancel(request), self._asker(context))
        return CancelStatementResponse(
            ended=result.ended,
            revision=result.revision,
            upstream_ids=result.upstream,
            downstream_ids=result.downstream,
        )

    def _asker(self, context: CallContext) -> ActionCaller:
        identity, correlation = caller.get(), current.get()
        return ActionCaller(
            name=identity.name[:_LONGEST_NAME] if identity else "",
            proof=identity.proof if identity else "",
            address=caller_address.get() or peer_address(context),
            is_operator=identity.is_operator if identity else self._insecure,
            request_id=correlation.request_id if correlation else "",
        )
