"""Selects the sessions that a request asks for, in the order that it asks for.

The view does what it can: equality on what is indexed, and pages in id order. For the
rest, rows are scanned part by part, and only those that the response needs are kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from sessiongate.gateway.api.order import Ordered, reorders, sort_key
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.http.work import work
from sessiongate.gateway.jsonapi.collections import PagePosition
from sessiongate.gateway.jsonapi.errors import Error, RequestError
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
from sessiongate.gateway.jsonapi.sorting import Sort
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.selector import Selector
from sessiongate.gateway.upstream.version import NO_VERSION
from sessiongate.gateway.upstream.views import Batch
from sessiongate.runtime.turns import Steps, later
from sessiongate.v1.activities import activity_of
from sessiongate.v1.states import state_of, words_of


@dataclass(frozen=True, slots=True)
class SelectedRows:
    """The rows of a response, in one part or more; the first is already fetched."""

    first: Batch
    rest: AsyncGenerator[Batch] | None = None  # the parts that follow, if any may
    position: PagePosition = field(default_factory=PagePosition)


class Selection:
    """The selection of a request: what the view can find, and what is left to do with its rows."""

    def __init__(self, request: ApiRequest, selector: Selector) -> None:
        """Select among the sessions that match ``selector``."""
        query = request.query
        self._request = request
        self._view = request.view
        self._context = request.context
        ages: dict[str, Any] = {**query.numbers}  # the parameters have the names of its fields
        aged = replace(selector, **ages)
        self._selector, self._filters = pushed_down(query.filters, aged)
        self._page = query.page
        # None if it is the order of the ids.
        self._sort = query.sort if query.sort is not None and reorders(query.sort) else None

    @property
    def is_large(self) -> bool:
        """Whether all rows are read, or returned."""
        return bool(self._page is None or self._request.query.filters or self._sort)

    @property
    def exact(self) -> Selector | None:
        """The part that the core can select by itself, if the request selects nothing else."""
        return self._selector if self._selector.is_exact and not self._filters else None

    async def rows(self) -> SelectedRows:
        """Find the rows.

        Raises `CallError`, and `RequestError` for too many rows or an impossible cursor
        or order.
        """
        page = self._page
        if isinstance(page, CursorPage):
            return await self._by_cursor(page)
        if self._sort is not None:
            return await self._sorted(self._sort, page)
        if page is None:
            return await self._all()
        if self._filters:
            return await self._window(page)
        rows = await self._view.rows(self._selector, page.size, skip=page.offset)
        return SelectedRows(rows, position=PagePosition(rows.total))

    async def _all(self) -> SelectedRows:
        parts = self.scan()
        first = await anext(parts)
        if first.more:
            return SelectedRows(first, parts)
        await parts.aclose()
        return SelectedRows(first)

    async def scan(self) -> AsyncGenerator[Batch]:
        """Yield all rows that pass the filters, in one part or more."""
        is_checked = False
        async with aclosing(self._view.scan(self._selector)) as parts:
            async for rows in parts:
                if not is_checked:
                    self._check(rows.total)
                    is_checked = True
                if not self._filters:
                    yield rows
                    continue
                kept = await work(self._passing(rows.sessions))
                yield replace(rows, sessions=kept)

    def _check(self, total: int) -> None:
        """Raise `RequestError` if more sessions are requested at once than allowed."""
        if self._page is not None or self._request.query.filters:
            return
        limit = self._request.state.limits.max_answer
        if total > limit:
            detail = f"{total} sessions are more than the {limit} that max_answer allows"
            detail += " at once; ask for pages, with page[size]"
            raise RequestError(Error(400, "ANSWER_TOO_LARGE", detail, parameter="page[size]"))

    def _passing(self, rows: Sequence[SessionRow]) -> Steps[list[SessionRow]]:
        context = self._context
        kept = []
        for row in rows:
            yield
            resource = row.resource(context.base, context.now)
            if all(found.matches(resource) for found in self._filters):
                kept.append(row)
        return kept

    async def _window(self, page: NumberPage) -> SelectedRows:
        kept: list[SessionRow] = []
        total = 0
        version = NO_VERSION
        start, stop = page.offset, page.offset + page.size
        async for rows in self.scan():
            version = version.and_older(rows.version)
            kept += rows.sessions[max(0, start - total) : max(0, stop - total)]
            total += len(rows.sessions)
        return SelectedRows(Batch(kept, total, version), position=PagePosition(total))

    async def _sorted(self, sort: Sort, page: NumberPage | None) -> SelectedRows:
        offset = page.offset if page else 0
        key = sort_key(sort, self._context)
        ordered = Ordered(key, offset + page.size if page else None)
        total = 0
        version = NO_VERSION
        try:
            async for rows in self.scan():
                version = version.and_older(rows.version)
                total += len(rows.sessions)
                await work(ordered.add(rows.sessions))
            sessions = await work(ordered.rows(offset))
        finally:  # also for a client that has left
            later(ordered.let_go())
        position = PagePosition(total if page else None)
        return SelectedRows(Batch(sessions, total, version), position=position)

    async def _by_cursor(self, page: CursorPage) -> SelectedRows:
        if self._sort is not None:
            raise unsupported_sort("the order by id")
        after, before = _cursor(page.after, AFTER), _cursor(page.before, BEFORE)
        # Fetch one row more than the page, to know whether another page follows.
        count = page.size + 1
        if self._filters:
            rows = await self._filtered_page(count, after, before)
        else:
            rows = await self._view.rows(self._selector, count, after=after, before=before)
        sessions = rows.sessions
        more = len(sessions) > page.size
        sessions = sessions[-page.size :] if before else sessions[: page.size]
        ids = [row.id for row in sessions]
        has_before = more if before else bool(after)
        has_after = bool(before) if before else more
        position = PagePosition(
            rows.total,
            before=str(ids[0]) if ids and has_before else None,
            after=str(ids[-1]) if ids and has_after else None,
        )
        return SelectedRows(replace(rows, sessions=sessions), position=position)

    async def _filtered_page(self, count: int, after: int, before: int) -> Batch:
        kept: list[SessionRow] = []
        total = 0
        version = NO_VERSION
        async for rows in self.scan():
            version = version.and_older(rows.version)
            total += len(rows.sessions)
            if before:
                kept = [*kept, *(row for row in rows.sessions if row.id < before)][-count:]
            elif len(kept) < count:
                kept += [row for row in rows.sessions if row.id > after][: count - len(kept)]
        return Batch(kept, total, version)


def pushed_down(
    filters: Iterable[Filter], selector: Selector, *, exact: bool = False
) -> tuple[Selector, tuple[Filter, ...]]:
    """Return what the view can select by, and the filters left to try on each row.

    If ``exact``, the core has to be able to select the same by itself.
    """
    left = []
    for found in filters:
        narrowed = _narrowed(selector, *found.equals) if found.equals else None
        if narrowed is None or (exact and not narrowed.is_exact):
            left.append(found)
        else:
            selector = narrowed
    return selector, tuple(left)


def _narrowed(selector: Selector, pointer: str, texts: Iterable[str]) -> Selector | None:
    """Return the selector with one more field; None if it cannot have that."""
    name = _FIELDS.get(pointer)
    if name is None or getattr(selector, name):
        return None
    values: Iterable[Any] = texts
    if name == "services" and "" in texts:
        return None  # a session without a service shows none
    if name == "states":
        values = [state_of(word) for word in texts]
        if any(words_of(state_of(word)) != word for word in texts):
            return None
    if name == "activities":
        values = [activity_of(word) for word in texts]
        if None in values:
            return None
    field: dict[str, Any] = {name: frozenset(values)}
    narrowed = replace(selector, **field)
    wanted = narrowed.filter()
    is_small = wanted is None or wanted.ByteSize() <= MOST_FILTER_BYTES
    values_in_all = sum(map(len, narrowed.wanted().values()))
    return narrowed if is_small and values_in_all <= _MOST_VALUES else None


_FIELDS = {
    **{
        f"/attributes/{name}": f"{name}s"
        for name in ("user", "state", "source", "database", "application", "remote")
    },
    "/attributes/activity/state": "activities",
    "/relationships/services/data/0/id": "services",
}
# The contract's limits of a filter.
_MOST_VALUES, MOST_FILTER_BYTES = 1000, 32 * 1024


def _cursor(text: str | None, parameter: str) -> int:
    """Return the id in a cursor; 0 if there is no cursor."""
    if text is None:
        return 0
    found = parse_id(text)
    if found is None:
        raise invalid_cursor(parameter)
    return found
