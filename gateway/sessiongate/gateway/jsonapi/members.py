"""The names of resources' members, for checking queries and suggesting the nearest right name.

A shape mirrors what it describes: a dict of names for an object, a list of one shape for
an array, None for a scalar, `FREE` for an object that may have any names, and `UNLISTED`
for such an object that no resource here has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, takewhile
from types import EllipsisType, MappingProxyType
from typing import TypeAlias

from sessiongate.gateway.jsonapi.parameters import invalid
from sessiongate.gateway.jsonapi.paths import RESOURCE_MEMBERS, PathStep
from sessiongate.gateway.jsonapi.routes import ANY, DEEP, Route, segments
from sessiongate.runtime.suggestion import MAX_NAME_LENGTH, as_question, closest, quoted_name

FREE = ...

Shape: TypeAlias = "Mapping[str, Shape] | Sequence[Shape] | EllipsisType | None"
PathSteps: TypeAlias = tuple[PathStep, ...]

# Known by its name only: `*` and `..` do not enter it. Otherwise, one such object would
# make every name valid after a `..`.
UNLISTED: Mapping[str, Shape] = MappingProxyType({})

_FIELDS = ("attributes", "relationships")  # the objects that ``fields`` selects from

_FIRST = PathStep(index=0)

# Searching costs time, and callers are untrusted.
_CORRECTIONS = 2  # of one path, after the first
_CANDIDATES = 3  # for a name


class Members:
    """The members of resources of one type."""

    def __init__(
        self, declared: Mapping[str, Shape], accepted: Mapping[str, Shape] | None = None
    ) -> None:
        """Also accept the names in ``accepted``, although no resource here has them."""
        self._declared = declared
        self._accepted = accepted or {}
        self._known = _merged(declared, self._accepted)  # what suggestions come from

    def check(
        self, parameter: str, text: str, steps: PathSteps, write: Callable[[PathSteps], str]
    ) -> None:
        """Raise `RequestError` if steps from the resource object lead to nothing known.

        ``text`` is how the parameter writes them; ``write`` writes other steps in the same way.
        """
        found = _fault(self._declared, steps)
        if found is None or _fault(self._accepted, steps) is None:
            return
        parent = steps[found[0] - 1].name if found[0] else None
        noun = {"attributes": "attribute", "relationships": "relationship"}.get(parent or "")
        better = self.nearest(steps)
        raise _unknown(
            parameter, noun or "member", text, write(better) if better else None, found[1]
        )

    def nearest(self, steps: PathSteps) -> PathSteps | None:
        """Return these steps, or the most similar ones that lead to something known, if any."""
        better = _nearest(self._known, steps)
        return better and _to_a_value(self._known, better)

    def check_field(self, parameter: str, tokens: Sequence[str]) -> None:
        """Raise `RequestError` if tokens inside a resource's fields lead to nothing known.

        The contents of arrays are not checked, because a field does not enter arrays.
        """
        steps = tuple(map(PathStep, tokens))
        fields = _fields(self._declared)
        found = _fault(_without_items(fields), steps)
        # An attribute and a relationship may have the same name.
        accepted = (self._accepted.get(part) for part in _FIELDS)
        if found is None or any(_fault(_without_items(part), steps) is None for part in accepted):
            return
        names = [name for token in tokens for name in token.split(".")]
        if names[0] in _FIELDS:
            del names[0]
        better = _nearest(_fields(self._known), tuple(map(PathStep, names))) if names else None
        noun = "member" if found[0] else "attribute or relationship"
        raise _unknown(
            parameter, noun, "/".join(tokens), as_field(better) if better else None, found[1]
        )

    def places(self) -> Iterator[PathSteps]:
        """Yield the steps to each declared member that has no members itself."""
        places = [*_places(self._declared), ()]
        return (here for here, after in pairwise(places) if after[: len(here)] != here)

    def fields(self) -> Iterator[PathSteps]:
        """Yield the steps to each declared field, and to each part of one."""
        return _places(_without_items(_fields(self._declared)))


def as_field(steps: PathSteps) -> str:
    """Write steps as in ``fields``, up to the first array: ``client/cipher``."""
    return "/".join(str(step.name) for step in takewhile(lambda step: step.name, steps))


def as_pointer(steps: PathSteps) -> str:
    """Write steps as a JSON Pointer, to the first value if they lead to several."""
    return "".join(f"/{_word(step)}" for step in steps)


def as_name(steps: PathSteps) -> str:
    """Write steps as in ``sort``: ``client.cipher``, to the first value if there are several."""
    if steps[0].name == "attributes" and len(steps) > 1 and steps[1].name not in RESOURCE_MEMBERS:
        steps = steps[1:]
    return ".".join(map(_word, steps))


def as_jsonpath(steps: PathSteps) -> str:
    """Write steps as a JSONPath, without its root if that is optional."""
    text = segments(steps)
    return text[1:] if text[:1] == "." != text[1:2] else f"${text}"


def as_written(route: Route, steps: PathSteps) -> str:
    """Write steps as a JSONPath like the route's own, with other names."""
    text = route.text
    for step, better in zip(route.steps, steps, strict=False):
        if step != better and step != DEEP and step.name and better.name:
            text, count = re.subn(rf"\b{re.escape(step.name)}\b", better.name, text)
            if count != 1:
                return as_jsonpath(steps)
        elif step != better:
            return as_jsonpath(steps)
    return text if len(steps) == len(route.steps) else as_jsonpath(steps)


def _word(step: PathStep) -> str:
    return str(step.index or 0) if step.name is None else step.name


def _unknown(parameter: str, noun: str, text: str, better: str | None, around: Shape) -> Exception:
    detail = f"there is no {noun} {quoted_name(text)}"
    if (
        text not in parameter and len(parameter) <= MAX_NAME_LENGTH
    ):  # filter[JSONPATH] contains the text
        detail = f"{parameter}: {detail}"
    if hint := as_question([better] if better else []):
        detail += hint
    else:
        inside = around[0] if isinstance(around, Sequence) else around
        detail += f"; allowed are {', '.join(inside)}" if isinstance(inside, Mapping) else ""
    return invalid(parameter, detail)


def _fault(shape: Shape, steps: PathSteps) -> tuple[int, Shape] | None:
    """Return the index of the first step that leads nowhere, and the shape before it."""
    shapes = [shape]
    for index, step in enumerate(steps):
        # If a shape that may have any names is among these, the step may lead into it.
        if any(each is FREE or each is UNLISTED for each in shapes):
            return None
        below = {id(one): one for each in shapes for one in _below(each, step)}
        if not below:
            return index, _together(shapes)
        shapes = [*below.values()]
    return None


def _below(shape: Shape, step: PathStep) -> Iterator[Shape]:
    """Yield the shapes that a step leads to."""
    inside: Iterable[Shape] = ()
    if isinstance(shape, Mapping):
        if step in (ANY, DEEP):
            inside = [each for each in shape.values() if not _is_unlisted(each)]
        elif step.name is not None and step.name in shape:
            inside = [shape[step.name]]
    elif isinstance(shape, Sequence) and (step in (ANY, DEEP) or step.index is not None):
        inside = shape
    if step == DEEP:
        yield shape
        for each in inside:
            yield from _below(each, DEEP)
    else:
        yield from inside


def _is_unlisted(shape: Shape) -> bool:
    return shape is UNLISTED or (isinstance(shape, Sequence) and shape[0] is UNLISTED)


def _together(shapes: Sequence[Shape]) -> Shape:
    """Merge the names of shapes; if there are none, return the first non-scalar, if any."""
    merged: dict[str, Shape] = {}
    for shape in shapes:
        if isinstance(shape, Mapping):
            merged = _merged(merged, shape)
    return merged or next((each for each in shapes if each is not None), None)


def _merged(one: Mapping[str, Shape], other: Mapping[str, Shape]) -> dict[str, Shape]:
    """Merge two objects in the order of the first; its shapes win conflicts."""
    merged = {**one, **{name: below for name, below in other.items() if name not in one}}
    for name in one.keys() & other.keys():
        mine, theirs = one[name], other[name]
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            merged[name] = _merged(mine, theirs)
        elif isinstance(mine, Sequence) and isinstance(theirs, Sequence):
            ours, more = mine[0], theirs[0]
            if isinstance(ours, Mapping) and isinstance(more, Mapping):
                merged[name] = [_merged(ours, more)]
    return merged


def _nearest(shape: Shape, steps: PathSteps, corrections: int = _CORRECTIONS) -> PathSteps | None:
    """Return the most similar steps that lead to something, if any are similar."""
    found = _fault(shape, steps)
    if found is None:
        return steps
    index, around = found
    before, (step, *after) = steps[:index], steps[index:]
    if not isinstance(around, Mapping):
        # Around is a list, whose items are meant, or a scalar, which has no members.
        if not isinstance(around, Sequence):
            return before[:-1] if before[-1:] == (DEEP,) else before
        return _nearest(shape, (*before, ANY, step, *after), corrections)
    if step.name is not None and "." in step.name:  # a path instead of a JSON Pointer
        parts = (PathStep(part) for part in step.name.split(".") if part not in ("", "$"))
        return _nearest(shape, (*before, *parts, *after), corrections)
    alike = [(*better, *after) for better in _alike(step.name or "", shape, before, around)]
    for better in alike:
        if _fault(shape, better) is None:
            return better
    return _nearest(shape, alike[0], corrections - 1) if alike and corrections else None


def _alike(
    name: str, shape: Shape, before: PathSteps, around: Mapping[str, Shape]
) -> Iterator[PathSteps]:
    """Yield steps to the same name elsewhere, then to similar names here or elsewhere."""
    name = name.lower()
    if len(name) > MAX_NAME_LENGTH:
        return
    elsewhere: dict[str, PathSteps] = {}
    for place in sorted(_places(shape), key=len):
        if place[-1].name is not None:
            elsewhere.setdefault(place[-1].name, place)
    if name in elsewhere:
        yield elsewhere[name]
    here = {near: (*before, PathStep(near)) for near in around}
    called = {**here, **{far: place for far, place in elsewhere.items() if far not in here}}
    yield from (called[close] for close in closest(name, called)[:_CANDIDATES])


def _places(shape: Shape, before: PathSteps = ()) -> Iterator[PathSteps]:
    """Yield the steps to each member, and to the values in arrays."""
    if isinstance(shape, Mapping):
        for name, below in shape.items():
            here = (*before, PathStep(name))
            yield here
            yield from _places(below, here)
    elif isinstance(shape, Sequence):
        if shape[0] is None:
            yield (*before, ANY)
        yield from _places(shape[0], (*before, ANY))


def _fields(resource: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape that ``fields`` selects from, including what is always returned."""
    fields: dict[str, Shape] = {}
    for part in _FIELDS:
        inside = resource.get(part)
        if isinstance(inside, Mapping):
            fields |= inside
    return {**fields, "id": None, "type": None}


def _without_items(shape: Shape) -> Shape:
    if isinstance(shape, Mapping) and shape is not UNLISTED:
        return {name: _without_items(below) for name, below in shape.items()}
    return FREE if isinstance(shape, Sequence) else shape


def _to_a_value(resource: Shape, steps: PathSteps) -> PathSteps:
    """Extend steps that end at a relationship to the id of the related resource."""
    ident = (*steps, PathStep("data"), _FIRST, PathStep("id"))
    related = len(steps) == 2 and steps[0].name == "relationships"
    return ident if related and _fault(resource, ident) is None else steps
