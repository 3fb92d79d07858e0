"""The ``page[…]`` parameters: pages by number as in MaxScale, pages by cursor, and their links.

Pages by number use ``page[size]`` and ``page[number]``, which starts from 0; resources
that come and go move the rest between pages. Pages by cursor use ``page[size]`` and
``page[after]`` or ``page[before]``, as in the cursor pagination profile. The caller
defines cursors; to this module they are strings. ``page[size]`` alone is by number,
unless the request names the profile (``Accept: application/vnd.api+json;profile="…"``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.jsonapi.parameters import INVALID_PARAMETER, query_string
from sessiongate.runtime.suggestion import quoted_name

PROFILE = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination/"

SIZE, NUMBER, AFTER, BEFORE = "page[size]", "page[number]", "page[after]", "page[before]"
NUMBERED = (SIZE, NUMBER)
FORWARD = (SIZE, AFTER)  # of a collection that is read in one direction only
PARAMETERS = (*NUMBERED, AFTER, BEFORE)

MAX_NUMBER = 2**31 - 1  # of resources on a page and before it, and of pages before it

_DIGITS = re.compile("0*([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class NumberPage:
    """A page of ``size`` resources; ``number`` pages of that size come before it."""

    size: int
    number: int

    @property
    def offset(self) -> int:
        """Number of resources before the page; no collection has more than the largest."""
        return min(self.size * self.number, MAX_NUMBER)


@dataclass(frozen=True, slots=True)
class CursorPage:
    """A page of ``size`` resources right after or before a cursor; without one, the first page."""

    size: int
    after: str | None
    before: str | None


@dataclass(frozen=True, slots=True)
class PageError(Error):
    """An error of a type that the profile defines; ``type`` is the last part of its URI.

    The profile puts the link in an array; JSON:API 1.1 allows only a string.
    """

    type: str = ""
    max_size: int | None = None

    def members(self) -> dict[str, Any]:
        """Return the error object."""
        members = {**Error.members(self), "links": {"type": PROFILE + self.type}}
        if self.max_size is not None:
            members["meta"] = {"page": {"maxSize": self.max_size}}
        return members


def parse_page(
    values: Mapping[str, str], *, default_size: int, max_size: int = MAX_NUMBER, profile: bool
) -> NumberPage | CursorPage | None:
    """Return the page that the parameters in ``values`` request, if any.

    ``profile`` is whether the request names the cursor pagination profile; ``default_size``
    applies to a page by cursor without a size. Raises `RequestError` with an error for each
    fault.
    """
    errors: list[Error] = []
    size = _whole(values, SIZE, 1, errors)
    number = _whole(values, NUMBER, 0, errors)
    by_cursor = AFTER in values or BEFORE in values
    if size is not None and size > max_size:
        errors.append(_too_large(size, max_size))
    if number is not None and number > MAX_NUMBER:
        errors.append(_invalid(NUMBER, f"{NUMBER} must be at most {MAX_NUMBER}, got {number}"))
    if NUMBER in values and (by_cursor or SIZE not in values):
        detail = f"{NUMBER} requires {SIZE}, and excludes {AFTER} and {BEFORE}"
        errors.append(_invalid(NUMBER, detail))
    if AFTER in values and BEFORE in values:
        errors.append(_range())
    if errors:
        raise RequestError(*errors)
    if by_cursor or (profile and size is not None and number is None):
        used = size or min(default_size, max_size)
        return CursorPage(used, values.get(AFTER), values.get(BEFORE))
    return None if size is None else NumberPage(size, number or 0)


def invalid_cursor(parameter: str) -> RequestError:
    """Return the error for a ``page[after]`` or ``page[before]`` that is not a cursor."""
    detail = f"{parameter} must be a cursor from a link or from an item's meta.page.cursor"
    return RequestError(_invalid(parameter, detail))


def unsupported_sort(allowed: str) -> RequestError:
    """Return the error for an order that pages by cursor do not support, unlike ``allowed``."""
    detail = f"pages by cursor support only {allowed}; {NUMBER} supports every order"
    return RequestError(PageError(400, "UNSUPPORTED_SORT", detail, "sort", type="unsupported-sort"))


def number_links(
    url: str, parameters: Iterable[tuple[str, str]], page: NumberPage, total: int
) -> dict[str, str]:
    """Return the links ``self``, ``first``, ``prev``, ``next`` and ``last`` of a page.

    ``total`` counts the resources on all pages. Each link keeps every other parameter
    of the request. ``prev`` and ``next`` are left out if there is no such page; past
    the end, ``prev`` is the last page.
    """
    others = [pair for pair in parameters if pair[0] not in PARAMETERS]
    last = max(0, -(-total // page.size) - 1)

    def link(number: int) -> str:
        pair = ((SIZE, str(page.size)), (NUMBER, str(number)))
        return f"{url}?{query_string([*others, *pair])}"

    links = {"self": link(page.number), "first": link(0)}
    if page.number > 0:
        links["prev"] = link(min(page.number - 1, last))
    if page.number < last:
        links["next"] = link(page.number + 1)
    return {**links, "last": link(last)}


def cursor_links(
    url: str,
    parameters: Iterable[tuple[str, str]],
    *,
    before: str | None,
    after: str | None,
) -> dict[str, str | None]:
    """Return the links ``self``, ``first``, ``prev`` and ``next`` of a page by cursor.

    ``before`` is the cursor that the previous page ends before, ``after`` the cursor that the
    next page starts after: those of this page's first and last item. None means that there
    is no such page; the profile requires its link to be null.
    """
    kept = list(parameters)
    others = [pair for pair in kept if pair[0] not in (AFTER, BEFORE)]

    def link(*pair: tuple[str, str]) -> str:
        query = query_string([*others, *pair])
        return f"{url}?{query}" if query else url

    query = query_string(kept)
    return {
        "self": f"{url}?{query}" if query else url,
        "first": link(),
        "prev": None if before is None else link((BEFORE, before)),
        "next": None if after is None else link((AFTER, after)),
    }


def forward_links(
    url: str, parameters: Iterable[tuple[str, str]], *, after: str | None
) -> dict[str, str | None]:
    """Return the same links of a collection that has no pages before a cursor: without ``prev``."""
    links = cursor_links(url, parameters, before=None, after=after)
    del links["prev"]
    return links


def page_meta(total: int) -> dict[str, Any]:
    """Return the profile's top-level ``meta``: the number of resources on all pages."""
    return {"page": {"total": total}}


def item_meta(cursor: str) -> dict[str, Any]:
    """Return the profile's ``meta`` of a resource object: its cursor."""
    return {"page": {"cursor": cursor}}


def _whole(
    values: Mapping[str, str], parameter: str, least: int, errors: list[Error]
) -> int | None:
    """Parse a parameter as a whole number; None if it is absent or an error."""
    if parameter not in values:
        return None
    found = _DIGITS.fullmatch(values[parameter])
    if found is None or int(found[1]) < least:
        given = quoted_name(values[parameter])
        detail = f"{parameter} must be an integer of at least {least}, got {given}"
        errors.append(_invalid(parameter, detail))
        return None
    return int(found[1])


def _invalid(parameter: str, detail: str) -> Error:
    return Error(400, INVALID_PARAMETER, detail, parameter)


def _too_large(size: int, max_size: int) -> Error:
    return PageError(
        400,
        "MAX_PAGE_SIZE_EXCEEDED",
        f"{SIZE} must be at most {max_size}, got {size}",
        SIZE,
        type="max-size-exceeded",
        max_size=max_size,
    )


def _range() -> Error:
    return PageError(
        400,
        "RANGE_PAGINATION_NOT_SUPPORTED",
        f"{AFTER} and {BEFORE} are not supported together; use one of them",
        BEFORE,
        type="range-pagination-not-supported",
    )
