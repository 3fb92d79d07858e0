"""A path of the API: the operations on it, by method, and which methods it allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.http.normalize_path import routed


class ApiPath:
    """All operations on one path, as an ASGI application."""

    def __init__(self, path: str, operations: Sequence[Operation]) -> None:
        """Take the operations on a path; without any, it refuses every method."""
        self.path = path
        self.operations = operations
        self._by_method = {method: found for found in operations for method in found.methods}
        self.methods = (*self._by_method, "OPTIONS")
        self.allow = ", ".join(self.methods)

    def route(self) -> Route:
        """Return the path as a route for the router."""
        name = self.operations[0].name if self.operations else None
        return Route(routed(self.path), self, name=name, methods=[*self.methods])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._by_method.get(scope["method"])
        if operation is not None:
            await operation(scope, receive, send)
        else:
            await Response(status_code=204, headers={"Allow": self.allow})(scope, receive, send)


def by_path(operations: Iterable[Operation]) -> list[ApiPath]:
    """Return the paths of operations, in the order of the first on each."""
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.path, []).append(operation)
    return [*(ApiPath(path, those) for path, those in found.items())]


# Only MaxScale can restart a session, one of its own. Its clients are told that
# this is not allowed, as they are of other changes.
REFUSED = (ApiPath("/v1/sessions/{id}/restart", ()),)
