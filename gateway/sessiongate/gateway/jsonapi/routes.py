"""The routes of a path, for checking the names on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from jsonpath import JSONPath
from jsonpath.filter import BaseExpression, FilterQuery, RelativeFilterQuery
from jsonpath.segments import JSONPathRecursiveDescentSegment
from jsonpath.selectors import Filter, IndexSelector, JSONPathSelector, NameSelector

from sessiongate.gateway.jsonapi.paths import PLAIN_NAME, Path, PathStep

ANY = PathStep()  # every child: for `*`, a slice and `?`
DEEP = PathStep("..", -1)  # a value and everything below it; no path has such a step


@dataclass(frozen=True, slots=True)
class Route:
    """One route from the resource object; ``text`` is its path, or a path inside a ``?``."""

    text: str
    steps: tuple[PathStep, ...]


def routes(path: Path) -> list[Route]:
    """Return the routes of a path and of the paths inside its ``?``."""
    if path.query is None:
        return [Route(path.text, path.steps)]
    inner: list[Route] = []
    ways: list[tuple[PathStep, ...]] = [()]
    for segment in path.query.segments:
        if isinstance(segment, JSONPathRecursiveDescentSegment):
            ways = [(*way, DEEP) for way in ways]
        for selector in segment.selectors:
            if isinstance(selector, Filter):
                inner += _inner(selector, ways)
        steps = dict.fromkeys(map(_step, segment.selectors))
        ways = [(*way, step) for way in ways for step in steps]
    return list(dict.fromkeys([*(Route(path.text, way) for way in ways), *inner]))


def segments(steps: tuple[PathStep, ...]) -> str:
    """Write steps as a JSONPath without its root."""
    text = ""
    for before, step in pairwise((PathStep(), *steps)):
        if step == DEEP:
            text += ".."
        elif step.name is None or not PLAIN_NAME.fullmatch(step.name):
            inside = "*" if step == ANY else step.index if step.name is None else repr(step.name)
            text += f"[{inside}]"
        else:
            text += step.name if before == DEEP else f".{step.name}"
    return text


def _inner(selector: Filter, ways: list[tuple[PathStep, ...]]) -> Iterator[Route]:
    """Yield the routes of the paths inside a ``?`` at the end of ``ways``."""
    expressions: list[BaseExpression] = [selector.expression]
    while expressions:
        expression = expressions.pop()
        if isinstance(expression, RelativeFilterQuery):
            steps = _steps(expression.path)
            yield from (Route(f"@{segments(steps)}", (*way, ANY, *steps)) for way in ways)
        elif isinstance(expression, FilterQuery):
            steps = _steps(expression.path)
            yield Route(f"${segments(steps)}", steps)
        expressions += expression.children()


def _steps(path: JSONPath) -> tuple[PathStep, ...]:
    return tuple(_step(segment.selectors[0]) for segment in path.segments)


def _step(selector: JSONPathSelector) -> PathStep:
    match selector:
        case NameSelector():
            return PathStep(name=selector.name)
        case IndexSelector():
            return PathStep(index=selector.index)
    return ANY
