"""Selects sessions of the past: what the core can find, and what is left to try on each.

A page ends after a number of sessions, and earlier if it has read enough: whoever asks for
sessions that are rare among millions gets short pages, each of which leads to the next.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, NamedTuple

import grpc

from sessiongate.client.errors import CallError
from sessiongate.gateway.api.past_time import TIMES, PastTime
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.select import MOST_FILTER_BYTES, pushed_down
from sessiongate.gateway.http.work import work
from sessiongate.gateway.jsonapi.errors import RequestError
from sessiongate.gateway.jsonapi.filters import is_filter
from sessiongate.gateway.jsonapi.ids import parse_id
from sessiongate.gateway.jsonapi.paging import AFTER, CursorPage
from sessiongate.gateway.jsonapi.parameters import invalid
from sessiongate.gateway.jsonapi.paths import Path
from sessiongate.gateway.jsonapi.query import DEFAULT_PAGE_RESOURCES, QueryParameters
from sessiongate.gateway.jsonapi.sorting import SortField
from sessiongate.gateway.representation.past_session import past_session_resource
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.gateway.upstream.selector import EVERYTHING, Selector
from sessiongate.runtime.addresses import packed_address
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.turns import Steps
from sessiongate.v1.errors import Reason
from sessiongate.v1.history_service_pb2 import (
    HistoryGap,
    ListPastSessionsRequest,
    ListPastSessionsResponse,
    PastSession,
)
from sessiongate.v1.session_service_pb2 import SessionFilter

PAST_ORDERS = ("connected", "-connected", "ended", "-ended")  # what `sort` may be
_DEFAULT_ORDER = SortField(Path.of_name("connected"), descending=False)
_ENDED = Path.of_name("ended")

_LEAST, _MOST = 100, 1000  # sessions that are requested from the core at a time
# Sessions that are read for a page, to try filters on, and seconds that this may take.
_MOST_READ, _LONGEST = 20_000, 3.0
_MOST_BYTES = 8 * 1024 * 1024  # encoded, of the sessions of a page, without the last call's
_NEVER = (1 << 63) - 1  # the end of a session that has not ended, in the order
_PACKED = struct.Struct(">8sqQ")
_PACKED_LENGTH = 32  # characters in base64


class _Place(NamedTuple):
    """A place in the order of a list: at the session with this time, in ns, and id."""

    time: int
    id: int


class _Cursor(NamedTuple):
    """Where a page starts: with a page of the core, after a place in it."""

    token: str = ""
    place: _Place | None = None


class PastSelection:
    """The sessions of the past that a request selects; one page of them."""

    def __init__(self, request: ApiRequest) -> None:
        """Read what the request asks for. Raises `RequestError`."""
        self._time = PastTime.read(request.query, request.context.now)
        self.query: QueryParameters = self._time.absolute(request.query)
        self.gaps: Sequence[HistoryGap] = ()  # these are known when all parts are read
        self.following: str | None = None  # the cursor of the next page, if there is one
        self._core: CoreClient = request.state.core
        self._base = request.context.base
        selector, left = pushed_down(self.query.filters, EVERYTHING)
        self._filters = left if selector.is_exact else self.query.filters
        self._wanted = ListPastSessionsRequest(filter=self._time.filter())
        if (narrowed := core_filter(selector)).ByteSize():
            self._wanted.filter.sessions.CopyFrom(narrowed)
        sort = _DEFAULT_ORDER if self.query.sort is None else self.query.sort.fields[0]
        self._by_end, self._descending = sort.path == _ENDED, sort.descending
        order = "end_time" if self._by_end else "connect_time"
        self._wanted.order_by = f"{order} desc" if self._descending else order
        page, most = self.query.page, request.state.limits.query.page_size
        if not isinstance(page, CursorPage):
            page = CursorPage(min(DEFAULT_PAGE_RESOURCES, most), None, None)
        self._page = page
        self._digest = _digest(self.query)
        self._start = self._read_cursor(self._page.after)

    async def parts(self) -> AsyncGenerator[list[dict[str, Any]]]:
        """Yield the resource objects of the page, in one part or more. Raises `CallError`."""
        idents = self._named()
        if idents is not None:
            yield await self._those(idents)
            return
        token, place = self._start
        needed, read, size, began = self._page.size, 0, 0, elapsed()
        while True:
            self._wanted.page_token = token
            self._wanted.page_size = self._request_size(token, needed, read)
            page = await self._list()
            self.gaps = page.gaps
            as_of = page.as_of_time.ToNanoseconds()
            found, last = await work(self._passing(page.sessions, needed, place, as_of))
            yield found
            needed -= len(found)
            read += len(page.sessions)
            size += page.ByteSize() * len(found) // max(1, len(page.sessions))
            if last is not None:
                self.following = self._write_cursor(_Cursor(token, last))
                return
            token = page.next_page_token
            if not token:
                return
            is_enough = read >= _MOST_READ or elapsed() - began >= _LONGEST
            if not needed or size >= _MOST_BYTES or (self._filters and is_enough):
                self.following = self._write_cursor(_Cursor(token, place))
                return

    def _named(self) -> tuple[str, ...] | None:
        """Return the ids of which a filter wants one, if they are few and fit the page."""
        most = 0 if self._page.after else min(self._page.size, _LEAST)
        for found in self.query.filters:
            if found.equals and found.equals[0] == "/id" and len(found.equals[1]) <= most:
                return found.equals[1]
        return None

    async def _those(self, idents: Iterable[str]) -> list[dict[str, Any]]:
        """Return the resource objects of the sessions with these ids that are asked for."""
        self._filters = self.query.filters
        self._wanted.page_size = 1
        self.gaps = (await self._list()).gaps
        pasts = []
        for ident in filter(None, map(parse_id, idents)):
            try:
                past = await self._core.get_past_session(ident)
            except CallError as error:
                if error.reason != Reason.SESSION_NOT_FOUND:
                    raise
            else:
                if self._time.holds(past):
                    pasts.append(past)
        pasts.sort(key=lambda past: self._place_of(past, _NEVER), reverse=self._descending)
        return (await work(self._passing(pasts, len(pasts), None, _NEVER)))[0]

    def _request_size(self, token: str, needed: int, read: int) -> int:
        """Return how many sessions to request, so that a page may end anywhere among them.

        What the core does not filter, it returns as needed. Of the rest, there may be more. Then
        a cursor has the token that they were requested with, and which holds the list's time: for
        this to exist, the first request is for one session.
        """
        if not self._filters:
            return min(needed, _MOST)
        return min(max(needed, read, _LEAST), _MOST) if token else 1

    async def _list(self) -> ListPastSessionsResponse:
        try:
            return await self._core.list_past_sessions(self._wanted)
        except CallError as error:
            token = self._wanted.page_token
            if (
                error.code is grpc.StatusCode.INVALID_ARGUMENT
                and token
                and token == self._start.token
            ):
                raise _foreign_cursor() from None
            raise

    def _passing(
        self, pasts: Sequence[PastSession], needed: int, place: _Place | None, as_of: int
    ) -> Steps[tuple[list[dict[str, Any]], _Place | None]]:
        """Return the resource objects that pass the filters, as far as they are needed.

        Return also the place of the last one, if others follow it.
        """
        found: list[dict[str, Any]] = []
        for number, past in enumerate(pasts, 1):
            yield
            here = self._place_of(past, as_of)
            if place is not None and (here >= place if self._descending else here <= place):
                continue
            resource = past_session_resource(past, self._base)
            if all(one.matches(resource) for one in self._filters):
                found.append(resource)
                if len(found) == needed:
                    return found, here if number < len(pasts) else None
        return found, None

    def _place_of(self, past: PastSession, as_of: int) -> _Place:
        if not self._by_end:
            return _Place(past.session.connect_time.ToNanoseconds(), past.session.id)
        end = past.end_time.ToNanoseconds() if past.HasField("end_time") else _NEVER
        return _Place(end if end <= as_of else _NEVER, past.session.id)

    def _write_cursor(self, cursor: _Cursor) -> str:
        place = cursor.place or _Place(0, 0)
        packed = _PACKED.pack(self._digest, *place)
        return base64.urlsafe_b64encode(packed).decode() + cursor.token

    def _read_cursor(self, text: str | None) -> _Cursor:
        """Return where the page starts. Raises `RequestError` if that is of another list."""
        if text is None:
            return _Cursor()
        try:
            packed = base64.b64decode(text[:_PACKED_LENGTH], altchars=b"-_", validate=True)
            digest, time, ident = _PACKED.unpack(packed)
        except (binascii.Error, struct.error, ValueError):
            raise _foreign_cursor() from None
        if digest != self._digest:
            raise _foreign_cursor()
        return _Cursor(text[_PACKED_LENGTH:], _Place(time, ident) if ident else None)


def _foreign_cursor() -> RequestError:
    detail = f"{AFTER} must be from a link of a list with the same times, filters and sort"
    return invalid(AFTER, f"{detail}; follow links.next as it is")


def core_filter(selector: Selector) -> SessionFilter:
    """Return the core's filter, which may match others, too, if the selector is not exact."""
    wanted = selector.filter() or SessionFilter()
    if selector.remotes and all(map(packed_address, selector.remotes)):
        by_address = SessionFilter(remotes=sorted(selector.remotes))
        by_address.MergeFrom(wanted)
        if by_address.ByteSize() <= MOST_FILTER_BYTES:
            wanted = by_address
    return wanted


def _digest(query: QueryParameters) -> bytes:
    """Hash what has to stay the same from page to page."""
    asked = [
        (name, value)
        for name, value in query.parameters
        if name in (*TIMES, "sort") or is_filter(name)
    ]
    return hashlib.blake2b(repr(asked).encode(), digest_size=8).digest()
