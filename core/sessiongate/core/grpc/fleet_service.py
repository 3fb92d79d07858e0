"""The gRPC servicer of FleetService."""

from __future__ import annotations

from sessiongate.core.follow.fleet_state import FleetState
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.service import answering
from sessiongate.v1.fleet_service_pb2 import ListShardsRequest, ListShardsResponse
from sessiongate.v1.fleet_service_pb2_grpc import FleetServiceServicer


class FleetService(FleetServiceServicer):
    """sessiongate.v1.FleetService over a `FleetState`."""

    def __init__(self, state: FleetState) -> None:
        self._state = state

    @answering
    async def ListShards(
        self, request: ListShardsRequest, context: CallContext
    ) -> ListShardsResponse:
        return self._state.message()
