"""The handlers of the API's description, for programs and for people."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import cached_property
from html import escape

from starlette.responses import Response

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.response import bytes_response
from sessiongate.gateway.jsonapi.document import dump
from sessiongate.gateway.openapi.description import describe
from sessiongate.gateway.openapi.page import POLICY, page
from sessiongate.gateway.openapi.schema import Schema

HTML = "text/html"

# A placeholder for the base of every URL; no caller can guess it.
_BASE = secrets.token_hex(16)


class Written:
    """The description, serialized on the first request because that takes long.

    ``ui`` is whether the gateway serves the page that shows the sessions.
    """

    def __init__(self, operations: Sequence[Operation], *, ui: bool = True) -> None:
        self._operations = operations
        self._ui = ui

    def document(self, base: str, *, pretty: bool) -> bytes:
        """Return it as JSON; ``base`` starts every URL and has no trailing slash."""
        written = self._pretty if pretty else self._compact
        return written.replace(_BASE.encode(), dump(base, pretty=False)[1:-1])

    def page(self, base: str) -> bytes:
        """Return it as an HTML page."""
        return self._page.replace(_BASE.encode(), escape(base).encode())

    @cached_property
    def _description(self) -> Schema:
        return describe(self._operations, _BASE)

    @cached_property
    def _compact(self) -> bytes:
        return dump(self._description, pretty=False)

    @cached_property
    def _pretty(self) -> bytes:
        return dump(self._description, pretty=True)

    @cached_property
    def _page(self) -> bytes:
        return page(self._description, ui=self._ui).encode()


async def show_description(request: ApiRequest) -> Response:
    """Answer ``/v1/openapi.json``."""
    written: Written = request.state.description
    return bytes_response(
        request, written.document(request.context.base, pretty=request.query.pretty), None
    )


async def show_reference(request: ApiRequest) -> Response:
    """Answer ``/docs``."""
    written: Written = request.state.description
    answer = bytes_response(request, written.page(request.context.base), None)
    answer.raw_headers.append((b"content-security-policy", POLICY.encode()))
    return answer
