"""Operations of the API, each declared once for routing, reading and documentation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sessiongate.gateway.api.request import OFFERS, ApiRequest
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.jsonapi.query import AllowedParameters, QueryLimits

RequestHandler: TypeAlias = Callable[[ApiRequest], Awaitable[Response]]

_STREAMED = (*OFFERS, EVENT_STREAM)


@dataclass(frozen=True, slots=True)
class Operation:
    """One resource, and how it is read, or what can be done to it."""

    name: str  # of the function in generated clients
    path: str  # in the documented form, with {…} for a name or an id
    endpoint: RequestHandler
    summary: str  # a title of few words
    description: str
    answer: str  # the schema of its document, in gateway/openapi/schemas.py; empty without one
    tag: str  # the kind of its response: a key of TAGS in gateway/openapi/description.py
    takes: AllowedParameters = AllowedParameters()  # noqa: RUF009 - frozen
    offers: Sequence[str] = OFFERS  # the media types that it is available in
    # Whether it is an event stream, too, for who asks for one. The description has another
    # operation for that: of one that returns either, clients cannot be generated.
    streams: bool = False
    live: bool = True  # derived from sessions only, so that it has validators
    asks: bool = True  # whether it calls the core, and fails if the core does
    method: str = "GET"  # or one that acts on the resource

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it answers."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def acts(self) -> bool:
        """Whether it does something, other than to tell."""
        return self.method != "GET"

    @property
    def kind(self) -> str | None:
        """The kind of resource that ``{id}`` identifies, such as "sessions"; None without it."""
        place, named, _ = self.path.partition("/{id}")
        return place.rpartition("/")[2] if named else None

    def within(self, limits: QueryLimits) -> Operation:
        """Return the same operation within other limits."""
        return replace(self, takes=replace(self.takes, limits=limits))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # An ASGI application itself: Starlette would wrap a function in layers that cost as
        # much as the response.
        offers = _STREAMED if self.streams else self.offers
        request = await ApiRequest.read(scope, self.takes, offers)
        response = await self.endpoint(request)
        await response(scope, receive, send)
