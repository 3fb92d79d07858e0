"""Remembers responses at the outside of the application, for as long as they are provably right.

The application offers a response together with what it was made from (`Validity`); nothing here
knows what makes one right. The key has every header that the application sees, so a response
cannot depend on anything else of its request.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sessiongate.gateway.http.body_response import BodyResponse, WrittenResponse

# All headers that are passed on. Those before this middleware read others.
PASSED_ON = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"content-type",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-unmodified-since",
        b"last-event-id",
        b"origin",
    )
)

_BYTES = 32 * 1024 * 1024
# Longer responses are not remembered: they would leave no room for others.
_REMEMBERED_AT_MOST = _BYTES // 2
# Letting go of this many takes a few milliseconds.
_RESPONSES = 4096
_SEEN = 4096  # requests of a second that are known again
_BESIDE = 1024  # bytes that a response needs besides its body

# Offers a response to GET to be remembered.
Remember: TypeAlias = Callable[[BodyResponse, "Validity"], None]
# The base of URLs, the raw path, the query, and the headers passed on.
Key: TypeAlias = tuple[object, ...]


def key_of(scope: Scope) -> tuple[list[tuple[bytes, bytes]], Key]:
    """Return the headers that are passed on, and the key of the response to a GET."""
    headers = [pair for pair in scope["headers"] if pair[0] in PASSED_ON]
    return headers, (
        scope["state"]["base_url"],
        scope["raw_path"],
        scope["query_string"],
        *headers,
    )


class Validity:
    """The data that a response was made from: valid while the same would be read now.

    ``state`` returns an object that stays the same as long as nothing that can be read changes;
    None if it is not known what would be read. ``began`` is what it returned when the making
    began. ``read`` returns what the response depends on, which was ``found``. The response is
    right only in its ``second``, in seconds since the epoch.
    """

    __slots__ = ("_found", "_read", "_second", "_state", "_state_now")

    def __init__(
        self,
        state: Callable[[], object | None],
        began: object | None,
        read: Callable[[], object],
        found: object,
        second: int,
    ) -> None:
        self._state_now = state
        self._state = began
        self._read = read
        self._found = found
        self._second = second

    @property
    def was_proven(self) -> bool:
        """Whether all was read in one state, the present one."""
        state = self._state_now()
        return state is not None and state is self._state and self._read() == self._found

    def holds(self, second: int) -> bool:
        """Return whether the response is right now, in this second."""
        if second != self._second:
            return False
        state = self._state_now()
        if state is not self._state:
            if state is None or self._read() != self._found:
                return False
            self._state = state
        return True


@dataclass(slots=True)
class _Entry:
    """A remembered response to GET."""

    response: WrittenResponse
    validity: Validity
    route: Any  # for the metrics
    size: int
    is_used: bool = False  # since it was remembered, or was last spared


class ResponseCache:
    """Middleware that answers GET and HEAD from memory while that is provably right.

    It must be the last before the router. It passes on only the headers in `PASSED_ON`, and for
    a GET that was sent before, ``scope["state"]["remember"]``, which takes a response and its
    `Validity`.

    All is of one second, and what has been used in it is spared once when room is needed. So
    who asks for thousands of different things throws nobody's responses out for good.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._seen: set[int] = set()  # hashes of requests
        self._bytes = 0
        self._is_timed = False  # whether all will be let go

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        headers, key = key_of(scope)
        response = self._find(key, scope)
        if response is not None:
            await response(scope, receive, send)
            return
        scope["headers"] = headers
        if scope["method"] != "GET" or not self._was_seen(hash(key)):
            await self._app(scope, receive, send)
            return
        state["remember"] = partial(self._offer, key, scope)
        try:
            await self._app(scope, receive, send)
        finally:
            del state["remember"]  # it refers to the scope: only a search would free both

    def remembered(self, key: Key, scope: Scope) -> Message | None:
        """Return the whole response to a GET, if it is remembered, right and in one part."""
        response = self._find(key, scope)
        return None if response is None else response.message()

    def _find(self, key: Key, scope: Scope) -> WrittenResponse | None:
        entry = self._entries.get(key)
        if entry is None or not entry.validity.holds(int(time.time())):
            return None
        entry.is_used = True
        scope["route"] = entry.route
        return entry.response

    def _was_seen(self, request: int) -> bool:
        """Return whether a request was sent in this second, given its hash.

        To remember the response to each would cost half as much as to make it.
        """
        if request in self._seen:
            return True
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen.add(request)
        self._time()
        return False

    def _offer(self, key: Key, scope: Scope, response: BodyResponse, validity: Validity) -> None:
        url = len(scope["raw_path"]) + len(scope["query_string"])
        size = (
            _BESIDE + url + sum(len(value) for _, value in scope["headers"]) + response.shared.size
        )
        if size <= _REMEMBERED_AT_MOST and validity.was_proven:
            self._remember(
                key, _Entry(WrittenResponse(response), validity, scope.get("route"), size)
            )

    def _remember(self, key: Key, entry: _Entry) -> None:
        before = self._entries.pop(key, None)
        self._entries[key] = entry
        self._bytes += entry.size - (before.size if before else 0)
        while self._bytes > _BYTES or len(self._entries) > _RESPONSES:
            self._drop_one()

    def _time(self) -> None:
        """Let everything go once its second is over."""
        if not self._is_timed:
            self._is_timed = True
            asyncio.get_running_loop().call_later(1 - time.time() % 1, self._let_go)

    def _drop_one(self) -> None:
        """Drop the oldest entry that has not been used since it was last spared."""
        key, entry = self._entries.popitem(last=False)
        if entry.is_used:
            entry.is_used = False
            self._entries[key] = entry
        else:
            self._bytes -= entry.size

    def _let_go(self) -> None:
        """Forget the responses of a second that is over."""
        self._entries.clear()
        self._seen.clear()
        self._bytes, self._is_timed = 0, False
