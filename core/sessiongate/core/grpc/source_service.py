"""The gRPC servicer of SourceService."""

from __future__ import annotations

from sessiongate.core.collect.collector import Collector
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.service import answering
from sessiongate.v1.source_service_pb2 import ListSourcesRequest, ListSourcesResponse
from sessiongate.v1.source_service_pb2_grpc import SourceServiceServicer


class SourceService(SourceServiceServicer):
    """sessiongate.v1.SourceService over a `Collector`."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    @answering
    async def ListSources(
        self, request: ListSourcesRequest, context: CallContext
    ) -> ListSourcesResponse:
        return ListSourcesResponse(sources=self._collector.reports())
