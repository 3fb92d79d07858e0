"""Collections: the links and meta of their documents, and queries on small collections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sessiongate.gateway.jsonapi import paging
from sessiongate.gateway.jsonapi.paging import CursorPage, NumberPage
from sessiongate.gateway.jsonapi.parameters import query_string
from sessiongate.gateway.jsonapi.paths import Resource
from sessiongate.gateway.jsonapi.query import QueryParameters


@dataclass(frozen=True, slots=True)
class PagePosition:
    """A page's position in its collection."""

    total: int | None = None  # resources on all pages, if a page was requested
    before: str | None = None  # cursor that the previous page ends at, if there is one
    after: str | None = None  # cursor that the next page starts from, if there is one


def self_link(query: QueryParameters, url: str) -> str:
    """Return ``url``, with all parameters if one changes what the document contains."""
    parameters = query_string(query.parameters)
    return f"{url}?{parameters}" if parameters else url


def links(query: QueryParameters, url: str, place: PagePosition) -> dict[str, Any]:
    """Return the links of a collection's document."""
    if isinstance(query.page, NumberPage):
        total = place.total or 0
        return dict(paging.number_links(url, query.parameters, query.page, total))
    if isinstance(query.page, CursorPage):
        before, after = place.before, place.after
        return dict(paging.cursor_links(url, query.parameters, before=before, after=after))
    return {"self": self_link(query, url)}


def meta(query: QueryParameters, place: PagePosition) -> dict[str, Any]:
    """Return the members of ``meta`` that describe the page."""
    if isinstance(query.page, NumberPage):
        return {"total": place.total}
    if isinstance(query.page, CursorPage):
        return paging.page_meta(place.total or 0)
    return {}


def paginate(
    resources: Sequence[Resource], query: QueryParameters
) -> tuple[list[dict[str, Any]], PagePosition]:
    """Apply a query to a complete collection in id order; return its resources and position.

    Ids are the cursors. Raises `RequestError` for an order that pages by cursor do not
    support.
    """
    found = [item for item in resources if all(f.matches(item) for f in query.filters)]
    if query.sort is not None:
        found.sort(key=query.sort.key())
    place = PagePosition()
    if isinstance(query.page, NumberPage):
        place = PagePosition(len(found))
        found = found[query.page.offset : query.page.offset + query.page.size]
    elif isinstance(query.page, CursorPage):
        found, place = _by_cursor(found, query, query.page)
    fielded = [with_fields(query, item) for item in found]
    if isinstance(query.page, CursorPage):
        fielded = [{**item, "meta": paging.item_meta(item["id"])} for item in fielded]
    return fielded, place


def with_fields(query: QueryParameters, resource: Resource) -> dict[str, Any]:
    """Return the resource object with the fields requested for its type."""
    fieldset = query.fields.get(resource["type"])
    return dict(resource if fieldset is None else fieldset.apply(resource))


def _by_cursor(
    found: list[Resource], query: QueryParameters, page: CursorPage
) -> tuple[list[Resource], PagePosition]:
    if query.sort is not None:
        raise paging.unsupported_sort("the order by id, without sort")
    total = len(found)
    if page.before is not None:
        found = [item for item in found if item["id"] < page.before]
        more, found = len(found) > page.size, found[-page.size :]
        has_before, has_after = more, True
    else:
        found = [item for item in found if page.after is None or item["id"] > page.after]
        more, found = len(found) > page.size, found[: page.size]
        has_before, has_after = page.after is not None, more
    return found, PagePosition(
        total,
        before=found[0]["id"] if found and has_before else None,
        after=found[-1]["id"] if found and has_after else None,
    )
