"""The API's description, for programs and for people."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import Ask
from gateway.openapi.description import describe
from gateway.openapi.page import POLICY, page

HTML = "text/html"


async def show_description(request: Request, ask: Ask) -> Response:
    """``/v1/openapi.json``."""
    return ask.document(describe(request.app.state.operations, ask.moment.base), None)


async def show_reference(request: Request, ask: Ask) -> Response:
    """``/docs``."""
    text = page(describe(request.app.state.operations, ask.moment.base))
    answer = ask.whole(text.encode(), None)
    answer.raw_headers.append((b"content-security-policy", POLICY.encode()))
    return answer
