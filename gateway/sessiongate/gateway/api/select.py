"""Selects the sessions that a query asks for, in the order that it asks for.

The view does what it can: equality on what the core filters by, and pages in id
order. For the rest, rows are scanned part by part, and only those that the answer
needs are kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from sessiongate.gateway.api.order import Ordered
from sessiongate.gateway.http.work import later, work
from sessiongate.gateway.jsonapi.collections import PagePosition
from sessiongate.gateway.jsonapi.filters import Filter
from sessiongate.gateway.jsonapi.ids import parse_id
from sessiongate.gateway.jsonapi.paging import (
    AFTER,
    BEFORE,
    CursorPage,
    NumberPage,
    invalid_cursor,
    unsupported_sort,
)
from sessiongate.gateway.jsonapi.paths import MISSING, Path
from sessiongate.gateway.jsonapi.query import QueryParameters
from sessiongate.gateway.jsonapi.sorting import Sort
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.views import NO_VERSION, Batch, Selector, SessionView
from sessiongate.runtime.turns import Steps
from sessiongate.v1.states import state_of, words_of

IDLE = "/attributes/idle"

_BY_ID = (None, "/id")


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of an answer, in one part or more; the first is already fetched."""

    first: Batch
    rest: AsyncGenerator[Batch] | None = None  # the parts that follow, if any may
    place: PagePosition = field(default_factory=PagePosition)


@dataclass(slots=True)
class RenderContext:
    """What a resource object depends on besides its session."""

    base: str  # what URLs start with
    now: float  # seconds since the epoch


async def select(
    view: SessionView, query: QueryParameters, wanted: Selector, moment: RenderContext
) -> Selection:
    """Select the rows that a query asks for among those wanted.

    Raises `CallError`, and `RequestError` for an impossible cursor or order.
    """
    wanted, filters = pushed_down(query.filters, wanted)
    if isinstance(query.page, CursorPage):
        return await _by_cursor(view, query, query.page, wanted, filters, moment)
    if query.sort is not None and _sorts(query.sort):
        return await _sorted(view, query.sort, query.page, wanted, filters, moment)
    if query.page is None:
        return await _all(view, wanted, filters, moment)
    if filters:
        return await _window(view, query.page.offset, query.page.size, wanted, filters, moment)
    rows = await view.rows(wanted, query.page.size, skip=query.page.offset)
    return Selection(rows, place=PagePosition(rows.total))


def is_large(query: QueryParameters) -> bool:
    """Return whether answering a query reads all rows, or returns all."""
    return query.page is None or bool(query.filters) or bool(query.sort and _sorts(query.sort))


def depends_on_clock(query: QueryParameters) -> bool:
    """Return whether time alone changes which rows are selected, or their order."""
    paths = [found.path for found in query.filters]
    if query.sort is not None:
        paths += [found.path for found in query.sort.fields]
    return any(path.reads(IDLE) for path in paths)


def pushed_down(filters: Iterable[Filter], wanted: Selector) -> tuple[Selector, tuple[Filter, ...]]:
    """Return what the view can select by, and the filters left to try on each row."""
    left = []
    for found in filters:
        equals = found.equals()
        name = _VIEWS.get(equals[0]) if equals else None
        if equals is None or name is None or getattr(wanted, name):
            left.append(found)
        elif name == "services":
            wanted = replace(wanted, services=frozenset(equals[1]))
        elif name == "users":
            wanted = replace(wanted, users=frozenset(equals[1]))
        elif all(words_of(state_of(word)) == word for word in equals[1]):
            wanted = replace(wanted, states=frozenset(map(state_of, equals[1])))
        else:
            left.append(found)
    return wanted, tuple(left)


_VIEWS = {
    "/attributes/user": "users",
    "/attributes/state": "states",
    "/relationships/services/data/0/id": "services",
}


async def _all(
    view: SessionView, wanted: Selector, filters: Sequence[Filter], moment: RenderContext
) -> Selection:
    parts = _scan(view, wanted, filters, moment)
    first = await anext(parts)
    if first.more:
        return Selection(first, parts)
    await parts.aclose()
    return Selection(first)


async def _scan(
    view: SessionView, wanted: Selector, filters: Sequence[Filter], moment: RenderContext
) -> AsyncGenerator[Batch]:
    """Yield all wanted rows that pass the filters, in one part or more."""
    async with aclosing(view.scan(wanted)) as parts:
        async for rows in parts:
            if not filters:
                yield rows
                continue
            kept = await work(_let_through(rows.sessions, filters, moment))
            yield replace(rows, sessions=kept)


def _let_through(
    rows: Sequence[SessionRow], filters: Sequence[Filter], moment: RenderContext
) -> Steps[list[SessionRow]]:
    kept = []
    for row in rows:
        yield
        resource = row.resource(moment.base, moment.now)
        if all(found.matches(resource) for found in filters):
            kept.append(row)
    return kept


async def _window(
    view: SessionView,
    offset: int,
    size: int,
    wanted: Selector,
    filters: Sequence[Filter],
    moment: RenderContext,
) -> Selection:
    kept: list[SessionRow] = []
    total = 0
    version = NO_VERSION
    async for rows in _scan(view, wanted, filters, moment):
        version = version.and_older(rows.version)
        kept += rows.sessions[max(0, offset - total) : max(0, offset + size - total)]
        total += len(rows.sessions)
    return Selection(Batch(kept, total, version), place=PagePosition(total))


async def _sorted(
    view: SessionView,
    sort: Sort,
    page: NumberPage | None,
    wanted: Selector,
    filters: Sequence[Filter],
    moment: RenderContext,
) -> Selection:
    key = sort.key_by(lambda path: _getter(path, moment))
    ordered = Ordered(key, page.offset + page.size if page else None)
    total = 0
    version = NO_VERSION
    try:
        async for rows in _scan(view, wanted, filters, moment):
            version = version.and_older(rows.version)
            total += len(rows.sessions)
            await work(ordered.add(rows.sessions))
        sessions = await work(ordered.rows(page.offset if page else 0))
    finally:  # also for a client that has left
        later(ordered.let_go())
    return Selection(Batch(sessions, total, version), place=PagePosition(total if page else None))


async def _by_cursor(
    view: SessionView,
    query: QueryParameters,
    page: CursorPage,
    wanted: Selector,
    filters: Sequence[Filter],
    moment: RenderContext,
) -> Selection:
    if query.sort is not None and _sorts(query.sort):
        raise unsupported_sort("the order by id")
    after, before = _cursor(page.after, AFTER), _cursor(page.before, BEFORE)
    # Fetch one row more than the page, to know whether another page follows.
    if filters:
        rows = await _filtered_page(view, page.size + 1, after, before, wanted, filters, moment)
    else:
        rows = await view.rows(wanted, page.size + 1, after=after, before=before)
    sessions = rows.sessions
    more = len(sessions) > page.size
    sessions = sessions[-page.size :] if before else sessions[: page.size]
    ids = [row.id for row in sessions]
    has_before = more if before else bool(after)
    has_after = bool(before) if before else more
    return Selection(
        replace(rows, sessions=sessions),
        place=PagePosition(
            rows.total,
            before=str(ids[0]) if ids and has_before else None,
            after=str(ids[-1]) if ids and has_after else None,
        ),
    )


async def _filtered_page(
    view: SessionView,
    count: int,
    after: int,
    before: int,
    wanted: Selector,
    filters: Sequence[Filter],
    moment: RenderContext,
) -> Batch:
    kept: list[SessionRow] = []
    total = 0
    version = NO_VERSION
    async for rows in _scan(view, wanted, filters, moment):
        version = version.and_older(rows.version)
        total += len(rows.sessions)
        if before:
            kept = [*kept, *(row for row in rows.sessions if row.id < before)][-count:]
        elif len(kept) < count:
            kept += [row for row in rows.sessions if row.id > after][: count - len(kept)]
    return Batch(kept, total, version)


def _cursor(text: str | None, parameter: str) -> int:
    """Return the id in a cursor; 0 if there is no cursor."""
    if text is None:
        return 0
    found = parse_id(text)
    if found is None:
        raise invalid_cursor(parameter)
    return found


def _sorts(sort: Sort) -> bool:
    """Return whether an order differs from that of the ids."""
    first = sort.fields[0]
    return first.descending or first.path.pointer not in _BY_ID


def _getter(path: Path, moment: RenderContext) -> Callable[[SessionRow], object]:
    """Return a function that finds the value a row is sorted by."""
    known = _VALUES.get(path.pointer or "")
    if known is not None:
        return known
    get = path.getter()
    return lambda row: get(row.resource(moment.base, moment.now))


def _connected(row: SessionRow) -> object:
    return row.connected


def _idle(row: SessionRow) -> object:
    return MISSING if row.active is None else -row.active


def _field(name: str) -> Callable[[SessionRow], object]:
    def get(row: SessionRow) -> object:
        session: Any = row.session
        return getattr(session, name) if session.HasField(name) else MISSING

    return get


# What is compared for the fields most often sorted by: times as times.
_VALUES: Mapping[str, Callable[[SessionRow], object]] = {
    "/id": lambda row: row.id,
    "/attributes/connected": _connected,
    IDLE: _idle,
    "/attributes/state": lambda row: words_of(row.state),
    **{
        f"/attributes/{name}": _field(name)
        for name in ("user", "remote", "port", "database", "application", "io_activity", "thread")
    },
}
