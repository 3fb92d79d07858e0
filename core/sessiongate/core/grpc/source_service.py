"""The gRPC servicer of SourceService."""

from __future__ import annotations

from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.service import answering
from sessiongate.core.table_filler import TableFiller
from sessiongate.v1.source_service_pb2 import ListSourcesRequest, ListSourcesResponse
from sessiongate.v1.source_service_pb2_grpc import SourceServiceServicer


class SourceService(SourceServiceServicer):
    """sessiongate.v1.SourceService over what fills the table."""

    def __init__(self, filler: TableFiller, ledger: str) -> None:
        """``ledger`` is the identity of the core's ledger."""
        self._filler = filler
        self._ledger = ledger

    @answering
    async def ListSources(
        self, request: ListSourcesRequest, context: CallContext
    ) -> ListSourcesResponse:
        sources = await self._filler.current_reports()
        return ListSourcesResponse(sources=sources, ledger=self._ledger)
