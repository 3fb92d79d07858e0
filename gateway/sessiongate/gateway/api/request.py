"""A request, read and validated: all that its response depends on besides the sessions."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.datastructures import State
from starlette.types import Scope

from sessiongate.gateway.api.host_names import RDNS, Naming
from sessiongate.gateway.http.in_flight import InFlight
from sessiongate.gateway.http.response_cache import Remember
from sessiongate.gateway.http.work import work
from sessiongate.gateway.jsonapi.conditional import Conditions
from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.jsonapi.negotiation import (
    JSON,
    check_content_type,
    negotiate,
    negotiate_encoding,
)
from sessiongate.gateway.jsonapi.paging import BEFORE, PROFILE
from sessiongate.gateway.jsonapi.query import PLAIN, AllowedParameters, QueryParameters
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.representation.session import IDLE
from sessiongate.gateway.upstream.views import SessionView
from sessiongate.runtime.turns import Steps

OFFERS = (MEDIA_TYPE, JSON)

# Bytes of what those requests asked for whose preferences are kept, and at most of one of them.
# Parsed, a query takes up to 170 times its bytes, such as one of nested `and()`, and an empty one
# as much as 16 bytes: at most 22 MiB in all, of about a thousand different ones.
_KEPT, _SHORT, _BESIDE = 128 * 1024, 1024, 16


@dataclass(slots=True)
class RenderContext:
    """The values that a resource object depends on besides its session."""

    base: str  # what URLs start with
    now: float  # seconds since the epoch


class Preferences(NamedTuple):
    """The preferences in a request's query and headers; the same for the same text."""

    query: QueryParameters
    media_type: str
    content_type: bytes  # of the response: the media type, with the profiles applied
    gzip: bool
    plain: bool  # the query asks for nothing but the document
    timeless: bool  # equal sessions always give equal responses, except for ``idle``


def _reading(
    takes: AllowedParameters,
    offers: Sequence[str],
    query_string: bytes,
    accept: str | None,
    accept_encoding: str | None,
    content_type: str | None,
) -> Steps[Preferences]:
    """Read what a request asks for. Raises `RequestError` with an error for each fault."""
    accepted = negotiate(accept, offers, (PROFILE,) if BEFORE in takes.pages else ())
    yield
    gzip = negotiate_encoding(accept_encoding) == "gzip"
    yield
    check_content_type(content_type, body=False)
    by_cursor = PROFILE in accepted.profiles
    query = yield from QueryParameters.parsing(query_string, takes, by_cursor=by_cursor)
    return Preferences(
        query,
        accepted.media_type,
        accepted.content_type().encode(),
        gzip,
        plain=query == PLAIN,
        # Names come from DNS, which does not announce changes.
        timeless=not _depends_on_clock(query) and RDNS not in query.switches,
    )


class KnownPreferences:
    """The preferences of the latest different requests, by all that `_reading` takes."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[Any, ...], Preferences] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._found)

    async def read(self, *asked: Any) -> Preferences:
        """Return what `_reading` does, which is done once for what many ask for."""
        found = self._found.get(asked)
        if found is None:
            found = await work(_reading(*asked))
            if _size(asked) <= _SHORT and asked not in self._found:
                self._found[asked] = found
                self._bytes += _size(asked)
                while self._bytes > _KEPT:
                    self._bytes -= _size(self._found.popitem(last=False)[0])
        return found


def _size(asked: tuple[Any, ...]) -> int:
    return _BESIDE + sum(len(text) for text in asked[2:] if text is not None)


_known = KnownPreferences()


@dataclass(slots=True)
class ApiRequest:
    """A request for one operation of the API."""

    scope: Scope
    state: State  # of the application
    preferences: Preferences
    query: QueryParameters  # of the preferences
    context: RenderContext
    conditions: Conditions
    view: SessionView
    fingerprint: bytes  # equal for requests with equal responses from equal sessions
    remember: Remember | None = None  # takes a response to be remembered, if that is wanted
    began: object | None = None  # then, the view's state at the time
    naming: Naming | None = None  # of clients' addresses, if requested
    row: SessionRow | None = None  # the only session that the response depends on, if it is one

    @classmethod
    async def read(
        cls, scope: Scope, takes: AllowedParameters, offers: Sequence[str] = OFFERS
    ) -> ApiRequest:
        """Read a request. Raises `RequestError` with an error for each fault."""
        headers, query_string = scope["headers"], scope["query_string"]
        accept = accept_encoding = content_type = None
        for name, value in headers:
            if name == b"accept":
                accept = _joined(accept, value)
            elif name == b"accept-encoding":
                accept_encoding = _joined(accept_encoding, value)
            elif name == b"content-type":
                content_type = _joined(content_type, value)
        preferences = await _known.read(
            takes, offers, query_string, accept, accept_encoding, content_type
        )
        query = preferences.query
        base: str = scope["state"]["base_url"]
        state: State = scope["app"].state
        # What is included may come from the core although the view is a replica.
        remember = None if query.include else scope["state"].get("remember")
        return cls(
            scope,
            state,
            preferences,
            query,
            RenderContext(base, time.time()),
            Conditions.read(headers),
            state.view,
            b"\0".join((base.encode(), scope["raw_path"], query_string, preferences.content_type)),
            remember,
            None if remember is None else state.view.state(),
            Naming(state.host_names) if RDNS in query.switches else None,
        )

    @property
    def in_flight(self) -> InFlight:
        """The room for the bytes of responses."""
        found: InFlight = self.state.in_flight
        return found

    @property
    def is_head(self) -> bool:
        """Whether only the headers of the response are requested."""
        return bool(self.scope["method"] == "HEAD")

    @property
    def path_id(self) -> str:
        """The ``{id}`` in the path, percent-encoded."""
        text: str = self.scope["path_params"]["id"]
        return text


def _depends_on_clock(query: QueryParameters) -> bool:
    """Return whether time alone changes which rows are selected, or their order."""
    if query.numbers:  # each of them is compared with an age
        return True
    paths = [found.path for found in query.filters]
    if query.sort is not None:
        paths += [found.path for found in query.sort.fields]
    return any(path.reads(IDLE) for path in paths)


def _joined(before: str | None, value: bytes) -> str:
    text = value.decode("latin-1")
    return text if before is None else f"{before}, {text}"
