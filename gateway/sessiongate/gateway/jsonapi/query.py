"""Strict parsing of a request's query parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl

from sessiongate.gateway.jsonapi import filters, paging
from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.jsonapi.fieldsets import Fieldset, fieldset_type
from sessiongate.gateway.jsonapi.filters import Filter, is_filter
from sessiongate.gateway.jsonapi.members import Members
from sessiongate.gateway.jsonapi.paging import CursorPage, NumberPage, parse_page
from sessiongate.gateway.jsonapi.parameters import invalid, names
from sessiongate.gateway.jsonapi.sorting import Sort
from sessiongate.runtime.suggestion import (
    MAX_NAME_LENGTH,
    as_question,
    did_you_mean,
    edits,
    nearest,
    quoted_name,
)

# Far more than the existing parameters: it limits the errors in one response.
MAX_PARAMETERS = 100
MAX_BY = 3  # names in `by`
DEFAULT_PAGE_RESOURCES = 100  # on a page by cursor without a size

_SWITCH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

MAX_VALUE = 999_999_999  # of a parameter that is a number: in seconds, thirty years
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """Limits of a query."""

    page_size: int = 10_000  # resources on one page
    filter_length: int = filters.MAX_FILTER_LENGTH  # characters
    filter_depth: int = filters.MAX_DEPTH  # nested brackets


@dataclass(frozen=True, slots=True, eq=False)
class AllowedParameters:
    """The parameters of an endpoint besides ``pretty`` and ``sync``; compared by identity."""

    switches: tuple[str, ...] = ()  # further on/off parameters
    numbers: tuple[str, ...] = ()  # further parameters that are numbers of at least 0
    fields: Mapping[str, Members] = field(default_factory=dict)  # by TYPE of fields[TYPE]
    include: tuple[str, ...] = ()  # the relationship paths of include
    collection: Members | None = None  # for filter and sort, its resources' members; and page
    by: tuple[str, ...] = ()  # what the resources of the collection may be counted by
    ordered: bool = True  # whether a collection has an order to choose, and cursors
    orders: tuple[str, ...] = ()  # what `sort` may be, if not any fields
    forward: bool = False  # whether all pages are by cursor, each after another
    texts: tuple[str, ...] = ()  # further parameters, whose values the operation reads
    limits: QueryLimits = QueryLimits()

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, as written."""
        names = ["pretty", "sync", *self.switches, *(f"fields[{kind}]" for kind in self.fields)]
        if self.include:
            names.append("include")
        if self.by:
            names.append("by")
        if self.collection:
            names += ["filter", "filter[JSONPATH]", *(["sort"] if self.ordered else [])]
        return (*names, *self.pages, *self.numbers, *self.texts)

    @property
    def pages(self) -> tuple[str, ...]:
        """The names of the parameters for pages; event streams have none."""
        if self.by:
            return paging.NUMBERED
        if self.forward:
            return paging.FORWARD
        return paging.PARAMETERS if self.collection and self.ordered else ()


@dataclass(frozen=True, slots=True)
class QueryParameters:
    """The parsed parameters of a request."""

    pretty: bool = False  # indent the document for people
    switches: frozenset[str] = frozenset()  # which of `AllowedParameters.switches` are on
    numbers: Mapping[str, float] = field(default_factory=dict)  # those that are given, by name
    texts: Mapping[str, str] = field(default_factory=dict)  # likewise
    fields: Mapping[str, Fieldset] = field(default_factory=dict)  # by type
    include: tuple[str, ...] = ()
    by: tuple[str, ...] = ()  # what to count by
    filters: tuple[Filter, ...] = ()  # all must match
    sort: Sort | None = None
    page: NumberPage | CursorPage | None = None
    # All parameters as given if one of them changes what the document contains, so that
    # links keep them. Otherwise none.
    parameters: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parsing(
        cls, query_string: bytes, takes: AllowedParameters, *, by_cursor: bool = False
    ) -> Generator[None, None, QueryParameters]:
        """Parse a query string in steps; 100 wrong names may take a tenth of a second.

        ``by_cursor`` is whether the request names the cursor pagination profile. Raises
        `RequestError` with an error for each fault.
        """
        if not query_string and not takes.by:
            return PLAIN
        switches = ("pretty", *takes.switches)
        pairs = _pairs(query_string, switches)
        reader = _Reader(takes)
        values: dict[str, str] = {}
        found = []
        for name, value in pairs:
            yield
            if takes.collection and is_filter(name):
                found.append(reader.filter(name, value))
            elif name in values:
                reader.errors += invalid(
                    name, f"{quoted_name(name)} is given more than once"
                ).errors
            else:
                values[name] = value
        on = {
            name
            for name in switches
            if name in values and reader.read(_switch, name, values.pop(name))
        }
        query = cls(
            pretty="pretty" in on,
            switches=frozenset(on - {"pretty"}),
            numbers=reader.numbers(values),
            texts={name: values.pop(name) for name in takes.texts if name in values},
            fields=reader.fields(values),
            include=reader.include(values),
            by=reader.by(values),
            filters=tuple(each for each in found if each is not None),
            sort=reader.sort(values),
            page=reader.page(values, by_cursor),
            parameters=tuple(pairs) if _asks(pairs) else (),
        )
        values.pop(
            "sync", None
        )  # for MaxScale's clients; without effect, because nothing is written
        for name in values:
            yield
            reader.errors += invalid(name, _unknown(name, takes)).errors
        if reader.errors:
            raise RequestError(*reader.errors)
        return query


PLAIN = QueryParameters()  # of a request for just the document


class _Reader:
    """Reads parameters and collects their errors."""

    def __init__(self, takes: AllowedParameters) -> None:
        self.errors: list[Error] = []
        self._takes = takes

    def read(self, parse: Callable[..., _T], *arguments: object, **named: object) -> _T | None:
        try:
            return parse(*arguments, **named)
        except RequestError as error:
            self.errors += error.errors
            return None

    def filter(self, name: str, value: str) -> Filter | None:
        limits = self._takes.limits
        return self.read(
            Filter.parse,
            name,
            value,
            members=self._takes.collection,
            max_length=limits.filter_length,
            max_depth=limits.filter_depth,
        )

    def numbers(self, values: dict[str, str]) -> dict[str, float]:
        found = {}
        for name in self._takes.numbers:
            if name in values:
                number = self.read(_number, name, values.pop(name))
                if number is not None:
                    found[name] = number
        return found

    def fields(self, values: dict[str, str]) -> dict[str, Fieldset]:
        found = {}
        for name in list(values):
            kind = fieldset_type(name)
            if kind is not None and kind in self._takes.fields:
                members = self._takes.fields[kind]
                fieldset = self.read(Fieldset.parse, name, values.pop(name), members)
                if fieldset is not None:
                    found[kind] = fieldset
        return found

    def include(self, values: dict[str, str]) -> tuple[str, ...]:
        if not self._takes.include or "include" not in values:
            return ()
        value = values.pop("include")
        paths = (
            self.read(names, "include", value, len(self._takes.include)) if value else []
        ) or []
        for path in paths:
            if path not in self._takes.include:
                hint = did_you_mean(path, self._takes.include)
                hint = hint or f"; allowed are {', '.join(self._takes.include)}"
                detail = f"{quoted_name(path)} cannot be included{hint}"
                self.errors += invalid("include", detail).errors
        return tuple(paths)

    def by(self, values: dict[str, str]) -> tuple[str, ...]:
        allowed = self._takes.by
        if not allowed:
            return ()
        if "by" not in values:
            detail = f"by must name one to {MAX_BY} of {', '.join(allowed)}, with commas between"
            self.errors += invalid("by", detail).errors
            return ()
        fields = self.read(names, "by", values.pop("by"), MAX_BY) or []
        for name in fields:
            if name not in allowed:
                hint = did_you_mean(name, allowed) or f"; allowed are {', '.join(allowed)}"
                detail = f"nothing can be counted by {quoted_name(name)}{hint}"
                self.errors += invalid("by", detail).errors
        return tuple(fields)

    def sort(self, values: dict[str, str]) -> Sort | None:
        if not (self._takes.collection and self._takes.ordered) or "sort" not in values:
            return None
        value, allowed = values.pop("sort"), self._takes.orders
        if allowed and value not in allowed:
            detail = f"sort must be one of {', '.join(allowed)}, got {quoted_name(value)}"
            self.errors += invalid("sort", detail).errors
            return None
        return self.read(Sort.parse, value, self._takes.collection)

    def page(self, values: dict[str, str], by_cursor: bool) -> NumberPage | CursorPage | None:
        found = {name: values.pop(name) for name in self._takes.pages if name in values}
        if not found:
            return None
        return self.read(
            parse_page,
            found,
            default_size=DEFAULT_PAGE_RESOURCES,
            max_size=self._takes.limits.page_size,
            profile=by_cursor or self._takes.forward,
        )


def _unknown(name: str, takes: AllowedParameters) -> str:
    """Return the error text for a parameter that does not exist here."""
    if takes.collection and name.startswith("filter["):  # and does not end in a bracket
        return f"{quoted_name(name)} must end in ']'; inside it, write %3D for '=' and %26 for '&'"
    if name in paging.PARAMETERS and takes.pages:
        return f"{name} is not supported here; of pages, allowed are {', '.join(takes.pages)}"
    hint = as_question(_alike(name, takes.names)) or f"; allowed are {', '.join(takes.names)}"
    return f"unknown parameter {quoted_name(name)}{hint}"


def _alike(name: str, known: Collection[str]) -> list[str]:
    """Return the parameters nearest to a name; text in brackets is compared separately."""
    base, bracket, inside = name.removesuffix("]").partition("[")
    if not bracket:
        return nearest(name, known)
    found = {}
    for each in known:
        right, bracket, within = each.removesuffix("]").partition("[")
        outer, inner = edits(base.lower(), right), edits(inside.lower(), within)
        if not bracket or outer is None:
            continue
        if right == "filter":
            return [f"filter[{inside}]" if 0 < len(inside) <= MAX_NAME_LENGTH else each]
        if inner is not None:
            found[each] = outer + inner
        elif len(inside) > 2 and within.startswith(inside.lower()):
            found[each] = outer + len(within) - len(inside)
    return [min(found, key=found.__getitem__)] if found else []


def _pairs(query_string: bytes, switches: Collection[str]) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            "&".join(_spelt_out(part, switches) for part in query_string.decode().split("&")),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except UnicodeDecodeError:
        detail = "the query must be percent-encoded UTF-8"
    except ValueError:
        detail = f"a query may have at most {MAX_PARAMETERS} parameters"
    raise RequestError(Error(400, "INVALID_PARAMETER", detail))


def _spelt_out(part: str, switches: Collection[str]) -> str:
    """Return a part of the query with ``=true`` added if it is a switch without a value."""
    return f"{part}=true" if part in switches else part


def _asks(pairs: list[tuple[str, str]]) -> bool:
    """Return whether any parameter changes more than the form of the response."""
    return any(name not in ("pretty", "sync") for name, _ in pairs)


def _number(name: str, value: str) -> float:
    if _NUMBER.fullmatch(value) and (number := float(value)) <= MAX_VALUE:
        return number
    detail = f"{name} must be a number from 0 to {MAX_VALUE}, such as 60 or 0.5"
    raise invalid(name, f"{detail}, got {quoted_name(value)}")


def _switch(name: str, value: str) -> bool:
    try:
        return _SWITCH[value.lower()]
    except KeyError:
        allowed, given = ", ".join(_SWITCH), quoted_name(value)
        detail = f"{name} must be one of {allowed}, got {given}; without a value, it is true"
        raise invalid(name, detail) from None
