"""The ``filter`` parameter: which resources of a collection to return.

``filter=POINTER=EXPRESSION`` or ``filter[JSONPATH]=EXPRESSION``, as MaxScale 24.02
documents them; `gateway.jsonapi.expressions` parses the expressions. A resource matches
if any single value at the path matches the whole expression. So, as in MaxScale, a path
that does not exist never matches, even under ne() or not(). The caller must AND several
filters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sessiongate.gateway.jsonapi import expressions
from sessiongate.gateway.jsonapi.expressions import Expression, ExpressionError, ValuePredicate
from sessiongate.gateway.jsonapi.members import Members, as_jsonpath, as_pointer, as_written
from sessiongate.gateway.jsonapi.parameters import invalid
from sessiongate.gateway.jsonapi.paths import MISSING, Path, PathError, Resource, almost_jsonpath
from sessiongate.gateway.jsonapi.routes import routes
from sessiongate.runtime.suggestion import as_question, quoted_name

MAX_FILTER_LENGTH = 4096
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter parameter. ``matches`` returns whether a resource object passes it."""

    path: Path
    expression: Expression
    matches: Callable[[Resource], bool] = field(compare=False, repr=False)
    # A JSON Pointer, and strings of which the filter wants one as the value there; None for
    # any other filter. The holder of the resources can look them up instead of trying each.
    equals: tuple[str, tuple[str, ...]] | None = field(compare=False, repr=False)

    @classmethod
    def parse(
        cls,
        parameter: str,
        value: str,
        *,
        members: Members | None = None,
        max_length: int = MAX_FILTER_LENGTH,
        max_depth: int = MAX_DEPTH,
    ) -> Filter:
        """Parse the parameter ``filter`` or ``filter[JSONPATH]``. Raises `RequestError`.

        ``members`` checks the path's names. ``max_length`` limits the value's
        characters, ``max_depth`` its nested brackets.
        """
        if len(value) > max_length:
            raise invalid(
                parameter,
                f"a filter must be at most {max_length} characters long, got {len(value)}",
            )
        try:
            path, start = _path(parameter, value)
            expression = expressions.parse_expression(value, start, max_depth)
        except PathError as error:
            raise invalid(parameter, f"{error}{_meant(parameter, members)}") from None
        except ExpressionError as error:
            raise invalid(parameter, str(error)) from None
        if members is not None:
            for route in routes(path):
                write = as_pointer if parameter == "filter" else as_jsonpath
                if path.query is not None:
                    write = partial(as_written, route)
                members.check(parameter, route.text, route.steps, write)
        predicate = expressions.compiled(expression, of_id=path.names_id)
        pointer, strings = path.pointer, expressions.strings(expression)
        equals = None if pointer is None or strings is None else (pointer, strings)
        return cls(path, expression, _matcher(path, predicate), equals)


def is_filter(parameter: str) -> bool:
    """Return whether `Filter.parse` accepts the parameter."""
    return parameter == "filter" or (parameter.startswith("filter[") and parameter.endswith("]"))


def _jsonpath(parameter: str) -> str | None:
    return None if parameter == "filter" else parameter.removeprefix("filter[").removesuffix("]")


def _path(parameter: str, value: str) -> tuple[Path, int]:
    """Return the path, and the offset in ``value`` where the expression starts."""
    jsonpath = _jsonpath(parameter)
    if jsonpath is not None:
        return Path.of_jsonpath(jsonpath), 0
    pointer, equals, _ = value.partition("=")
    if not equals:
        raise PathError(
            f"{quoted_name(value)} has no '='; write POINTER=EXPRESSION, such as id=1"
            ' or /attributes/user="app"'
        )
    return Path.of_pointer(pointer), len(pointer) + 1


def _meant(parameter: str, members: Members | None) -> str:
    """Suggest a path for something that is almost a JSONPath."""
    if members is None or (text := _jsonpath(parameter)) is None:
        return ""
    almost = almost_jsonpath(text)
    better = members.nearest(Path.of_jsonpath(almost).steps) if almost else None
    return as_question([as_jsonpath(better)] if better else [])


def _matcher(path: Path, predicate: ValuePredicate) -> Callable[[Resource], bool]:
    if path.pointer is None:
        return lambda resource: any(predicate(value) for value in path.values(resource))
    get = path.getter()

    def matches(resource: Resource) -> bool:
        value = get(resource)
        return value is not MISSING and predicate(value)

    return matches
