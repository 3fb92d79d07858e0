"""Gives each request the turns in which its work is done."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from sessiongate.gateway.http.admission import ALWAYS
from sessiongate.gateway.http.work import WorkContext, new_turns, work_context


class TakeTurns:
    """Middleware that sets `work_context` for each request, except health checks.

    It must run behind the cache of responses, so that what is remembered does not pay for it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turns = new_turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in ALWAYS:
            client = scope["client"]
            work_context.set(WorkContext(self._turns, str(client[0]) if client else "unknown"))
        await self._app(scope, receive, send)
