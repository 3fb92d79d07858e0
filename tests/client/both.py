"""The asyncio client behind the synchronous one's methods, so that one test is for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

from sessiongate.client import AsyncClient, Update
from sessiongate.v1.history_service_pb2 import (
    CountPastSessionsRequest,
    CountPastSessionsResponse,
    ListPastSessionsRequest,
    ListPastSessionsResponse,
    PastSession,
    PastSessionFilter,
)
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    CountBy,
    CountSessionsRequest,
    CountSessionsResponse,
    GetSessionResponse,
    ListSessionsRequest,
    ListSessionsResponse,
    SessionFilter,
    SessionGroup,
)
from sessiongate.v1.source_service_pb2 import Source

_T = TypeVar("_T")


class Waiting:
    """An `AsyncClient` in a loop of its own, which runs while it is waited for."""

    def __init__(self, address: str, **options: Any) -> None:
        self._runner = asyncio.Runner()

        async def make() -> AsyncClient:
            return AsyncClient(address, **options)

        self._client = self._runner.run(make())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def list_sessions(
        self, request: ListSessionsRequest | None = None, *, timeout: float | None = None
    ) -> ListSessionsResponse:
        return self._runner.run(self._client.list_sessions(request, timeout=timeout))

    def get_session(self, session_id: int, *, timeout: float | None = None) -> GetSessionResponse:
        return self._runner.run(self._client.get_session(session_id, timeout=timeout))

    def list_sources(self) -> Sequence[Source]:
        return self._runner.run(self._client.list_sources())

    def pages(self, request: ListSessionsRequest | None = None) -> Iterator[ListSessionsResponse]:
        return self._each(self._client.pages(request))

    def sessions(
        self, filter: SessionFilter | None = None, *, order_by: str = ""
    ) -> Iterator[Session]:
        return self._each(self._client.sessions(filter, order_by=order_by))

    def count_sessions(self, request: CountSessionsRequest) -> CountSessionsResponse:
        return self._runner.run(self._client.count_sessions(request))

    def counts(
        self, by: Iterable[CountBy], filter: SessionFilter | None = None
    ) -> Iterator[SessionGroup]:
        return self._each(self._client.counts(by, filter))

    def list_past_sessions(self, request: ListPastSessionsRequest) -> ListPastSessionsResponse:
        return self._runner.run(self._client.list_past_sessions(request))

    def count_past_sessions(self, request: CountPastSessionsRequest) -> CountPastSessionsResponse:
        return self._runner.run(self._client.count_past_sessions(request))

    def past_pages(
        self, request: ListPastSessionsRequest | None = None
    ) -> Iterator[ListPastSessionsResponse]:
        return self._each(self._client.past_pages(request))

    def past_sessions(
        self, filter: PastSessionFilter | None = None, *, order_by: str = ""
    ) -> Iterator[PastSession]:
        return self._each(self._client.past_sessions(filter, order_by=order_by))

    def get_past_session(self, session_id: int) -> PastSession:
        return self._runner.run(self._client.get_past_session(session_id))

    def follow(self, filter: SessionFilter | None = None) -> Iterator[Update]:
        return self._each(self._client.follow(filter))

    def _each(self, items: AsyncGenerator[_T]) -> Iterator[_T]:
        async def advance() -> _T:
            return await anext(items)

        try:
            with suppress(StopAsyncIteration):
                while True:
                    yield self._runner.run(advance())
        finally:
            self._runner.run(items.aclose())
