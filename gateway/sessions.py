"""Where the gateway gets sessions from."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from gateway.client import CoreClient
from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    GetSessionResponse,
    ListSessionsRequest,
    ListSessionsResponse,
)

PAGE_SIZE = 1000


class SessionView(Protocol):
    """What answers for the sessions. Both methods raise `CoreError`."""

    async def get(self, ident: int) -> GetSessionResponse:
        """One session by its id."""

    def pages(self) -> AsyncGenerator[ListSessionsResponse]:
        """All the sessions by id, at least one page, one in memory at a time."""


class DirectView:
    """Asks the core, each time."""

    def __init__(self, client: CoreClient) -> None:
        self._client = client

    async def get(self, ident: int) -> GetSessionResponse:
        return await self._client.get_session(GetSessionRequest(id=ident))

    async def pages(self) -> AsyncGenerator[ListSessionsResponse]:
        request = ListSessionsRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._client.list_sessions(request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
