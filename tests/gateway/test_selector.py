"""A pushed-down selector selects exactly what the filter passes, row by row."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import product
from typing import Any, cast

import pytest

from sessiongate.client.cores import ONE_CORE
from sessiongate.core.table.filter import RowFilter
from sessiongate.core.table.row import Values
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.api.select import pushed_down
from sessiongate.gateway.jsonapi.filters import Filter
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.gateway.upstream.replica import Replica
from sessiongate.gateway.upstream.selector import EVERYTHING, Selector
from sessiongate.gateway.upstream.version import NO_VERSION, Version
from sessiongate.gateway.upstream.views import PAGE_SIZE, DirectView, ReplicaView, SessionView
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    ListSessionsRequest,
    ListSessionsResponse,
    SessionFilter,
    WatchSessionsResponse,
    WatchSnapshot,
)

_TEXTS = (None, "", "a", "::1", "\\u0041", 'q"\u2028\\', "Session started")
_SOURCES = ("a", "::1")
_STATES = (0, 10, 4, 99)  # 99: of a newer core
_NAMES = ("user", "database", "application", "remote", "source", "state")
_POINTERS = (
    *(f"/attributes/{name}" for name in _NAMES),
    "/attributes/activity/state",
    "/relationships/services/data/0/id",
)
# Texts as JSON, to be equal to; the last two are lists of which any will do.
_WANTED = (
    '""',
    '"a"',
    '"::1"',
    '"\\\\u0041"',
    '"\\u0061"',
    json.dumps('q"\u2028\\'),
    '"Session started"',
    '"Session created"',
    '"Invalid State"',
    "null",
    "1",
    'or("a","::1")',
    '"waiting"',
    'or("waiting","idle in transaction")',
    'or("","a",or("Session started","Invalid State"))',
)


def _sessions() -> list[Session]:
    sessions = []
    for number in range(42):
        state = _STATES[number % 4]
        session = Session(
            id=number + 1,
            service=_TEXTS[1 + number % 6],
            source=_SOURCES[number % 2],
            state=state,  # type: ignore[arg-type] # a number
        )
        for step, name in enumerate(("user", "database", "application", "remote"), start=1):
            text = _TEXTS[(number * step + number // 7) % 7]
            if text is not None:
                setattr(session, name, text)
        if number % 4:  # 9: of a newer core
            session.activity.state = (1, 3, 5, 9)[number // 4 % 4]  # type: ignore[assignment] # numbers
        if number % 3:
            session.native_id = str(number)
        sessions.append(session)
    return sessions


SESSIONS = _sessions()


def _core_matcher(wanted: SessionFilter) -> Callable[[Session], bool]:
    """Return the core's test of whether a session matches a filter by values."""
    tried = RowFilter(wanted, ())
    return lambda session: tried.match_values(Values.of(session))


class _Core:
    """Lists sessions as the core does, seven a page."""

    cores = ONE_CORE

    async def list_sessions(self, request: ListSessionsRequest) -> ListSessionsResponse:
        matches = _core_matcher(request.filter)
        found = [
            one
            for one in SESSIONS
            if matches(one)
            and one.id > request.after_id
            and (not request.before_id or one.id < request.before_id)
        ]
        if request.order_by == "id desc":
            found.reverse()
        start = int(request.page_token or request.skip)
        stop = start + min(request.page_size, 7)
        total = sum(map(matches, SESSIONS))
        page = ListSessionsResponse(sessions=found[start:stop], total_size=total, revision=5)
        page.next_page_token = str(stop) if stop < len(found) else ""
        return page


def _direct() -> SessionView:
    return DirectView(cast(CoreClient, _Core()))


def _replica() -> SessionView:
    replica = Replica(cast(Any, None), staleness=2.0, clock=lambda: 0.0)
    message = WatchSessionsResponse(revision=5, snapshot=WatchSnapshot(sessions=SESSIONS))
    message.as_of.FromSeconds(0)
    replica._reflector._take(message)
    replica.store.apply([message])
    replica._prove()
    return ReplicaView(replica, cast(DirectView, None))


async def _all(view: SessionView, selector: Selector) -> list[SessionRow]:
    parts: AsyncGenerator[Any] = view.scan(selector)
    return [row async for part in parts for row in part.sessions]


def _passing(filters: Sequence[Filter], rows: Sequence[SessionRow]) -> list[int]:
    return [
        row.id for row in rows if all(one.matches(row.resource("http://x", 0.0)) for one in filters)
    ]


def _filters(*parameters: tuple[str, str]) -> list[Filter]:
    return [Filter.parse("filter", f"{pointer}={wanted}") for pointer, wanted in parameters]


_PAIRS = [*product([*zip(_POINTERS[:3], _WANTED[1:4], strict=True)], product(_POINTERS, _WANTED))]
_CASES = [
    *([one] for one in product(_POINTERS, _WANTED)),
    *([first, second] for first, second in _PAIRS[::4]),
]


@pytest.mark.parametrize("make", [_direct, _replica])
def test_what_is_pushed_down_is_what_passes(make: Callable[[], SessionView]) -> None:
    rows = [SessionRow(one) for one in SESSIONS]

    async def main() -> None:
        view = make()
        selected = 0
        for case in _CASES:
            filters = _filters(*case)
            expected = _passing(filters, rows)
            selector, left = pushed_down(filters, EVERYTHING)
            found = await _all(view, selector)
            assert _passing(left, found) == expected, case
            if left or not selector:
                continue
            selected += 1
            for count, place in ((2, 0), (3, 5), (100, 20)):
                page = await view.rows(selector, count, skip=place)
                assert [row.id for row in page.sessions] == expected[place:][:count], case
                assert page.total == len(expected)
                page = await view.rows(selector, count, after=place)
                assert [row.id for row in page.sessions] == [i for i in expected if i > place][
                    :count
                ]
                page = await view.rows(selector, count, before=place + 1)
                assert [row.id for row in page.sessions] == [i for i in expected if i <= place][
                    -count:
                ]
        assert selected > 100

    asyncio.run(main())


def test_what_the_core_is_to_select_alone_is_what_passes() -> None:
    for case in _CASES:
        filters = _filters(*case)
        selector, left = pushed_down(filters, EVERYTHING, exact=True)
        wanted = selector.filter()
        found = [
            SessionRow(one) for one in SESSIONS if wanted is None or _core_matcher(wanted)(one)
        ]
        assert _passing(left, found) == _passing(filters, [SessionRow(one) for one in SESSIONS])


class _ChangingCore(_Core):
    """Lists sessions likewise, after a change each time."""

    def __init__(self) -> None:
        self.revision = 5
        self.sizes: list[int] = []  # of pages, as requested

    async def list_sessions(self, request: ListSessionsRequest) -> ListSessionsResponse:
        self.sizes.append(request.page_size)
        page = await super().list_sessions(request)
        page.revision = self.revision
        page.update_time.FromSeconds(self.revision)
        self.revision += 1
        page.read_time.FromSeconds(self.revision)
        return page


def test_a_page_comes_in_parts_and_is_no_newer_than_the_first() -> None:
    core = _ChangingCore()
    view = DirectView(cast(CoreClient, core))
    page = asyncio.run(view.rows(EVERYTHING, 2 * PAGE_SIZE))
    assert [row.id for row in page.sessions] == [one.id for one in SESSIONS]
    assert set(core.sizes) == {PAGE_SIZE}
    assert len(core.sizes) > 1
    assert page.version == Version(5, math.inf)  # a later time would hide what has changed


def test_only_equal_versions_have_a_time_in_common() -> None:
    reached, lost = Version(5, 5.0), Version(5, 6.0, Gaps(unreachable=("one",)))
    assert NO_VERSION.and_older(lost) == lost
    assert lost.and_older(lost) == lost
    for mixed in (lost.and_older(reached), reached.and_older(lost)):
        assert mixed == Version(5, math.inf, lost.gaps)


@pytest.mark.parametrize("name", _NAMES)
def test_attributes_are_pushed_down(name: str) -> None:
    word = '"Session started"' if name == "state" else '"x"'
    selector, left = pushed_down(_filters((f"/attributes/{name}", word)), EVERYTHING)
    assert not left
    assert [*selector.wanted()] == [f"{name}s"]


def test_more_values_than_the_core_takes_are_left() -> None:
    many = "or({})".format(",".join(f'"{number:x}"' for number in range(600)))
    filters = _filters(("/attributes/user", many), ("/attributes/database", many))
    selector, left = pushed_down(filters, EVERYTHING)
    assert len(selector.users) == 600
    assert left == (filters[1],)
