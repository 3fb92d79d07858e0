"""The gRPC servicer of SourceService."""

from __future__ import annotations

from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.service import answering
from sessiongate.core.table_filler import TableFiller
from sessiongate.v1.source_service_pb2 import ListSourcesRequest, ListSourcesResponse
from sessiongate.v1.source_service_pb2_grpc import SourceServiceServicer


class SourceService(SourceServiceServicer):
    """sessiongate.v1.SourceService over what fills the table."""

    def __init__(self, filler: TableFiller) -> None:
        self._filler = filler

    @answering
    async def ListSources(
        self, request: ListSourcesRequest, context: CallContext
    ) -> ListSourcesResponse:
        return ListSourcesResponse(sources=await self._filler.current_reports())
