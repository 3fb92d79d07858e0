"""The gRPC servicer of SessionActionService."""

from __future__ import annotations

from sessiongate.core.actions.actions import Actions
from sessiongate.core.actions.request import ActionRequest
from sessiongate.core.grpc.action_caller import action_caller
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.service import answering
from sessiongate.v1.session_action_service_pb2 import (
    CancelStatementRequest,
    CancelStatementResponse,
    TerminateSessionRequest,
    TerminateSessionResponse,
)
from sessiongate.v1.session_action_service_pb2_grpc import SessionActionServiceServicer


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
        caller = action_caller(context, insecure=self._insecure)
        result = await self._actions.perform(ActionRequest.terminate(request), caller)
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
        caller = action_caller(context, insecure=self._insecure)
        result = await self._actions.perform(ActionRequest.cancel(request), caller)
        return CancelStatementResponse(
            ended=result.ended,
            revision=result.revision,
            upstream_ids=result.upstream,
            downstream_ids=result.downstream,
        )
