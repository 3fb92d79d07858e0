"""Paths into a resource object: JSON Pointers, JSONPaths, and the names of fields.

A resource object consists of dicts, lists and scalars, as a JSON parser returns them.
Callers are untrusted, so parsing a path bounds its cost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from jsonpath import JSONPath, JSONPathEnvironment
from jsonpath.exceptions import JSONPathError
from jsonpath.filter import BaseExpression, FilterQuery
from jsonpath.segments import JSONPathRecursiveDescentSegment
from jsonpath.selectors import Filter, NameSelector

from sessiongate.runtime.suggestion import quoted_name, shorten

Resource: TypeAlias = dict[str, Any]

MISSING = object()  # the value at a path that does not exist

MAX_PATH_LENGTH = 256
# A selector list such as [0,0] selects the same node twice, and each further list
# multiplies the nodes, as does every `..` after the first.
MAX_FAN_OUT = 64
MAX_DESCENTS = 1

RESOURCE_MEMBERS = frozenset(("id", "type", "attributes", "relationships", "links", "meta"))

# A letter, _ or any character outside ASCII; then also digits. Python compiles the names of what
# is not one of them twenty times as fast.
_NAME = r"[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*"
_QUOTED = r"""\['(?P<single>[^'"\\\x00-\x1f]*)'\]|\["(?P<double>[^'"\\\x00-\x1f]*)"\]"""
PLAIN_NAME = re.compile(_NAME, re.ASCII)
_STEP = re.compile(
    rf"\.(?P<name>{_NAME})|\[(?P<index>0|-?[1-9][0-9]{{0,14}})\]|(?P<any>\[\*\]|\.\*)|{_QUOTED}",
    re.ASCII,
)
_INDEX = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
# What callers write instead of a JSONPath, such as /connections/0/server or connections.0.server.
_ALMOST = re.compile(
    rf"(?:\$\.|/)?(?P<path>{_NAME}(?:[./](?:{_NAME}|0|[1-9][0-9]{{0,14}}))*)", re.ASCII
)
_BAD_ESCAPE = re.compile("~(?![01])")


class PathError(ValueError):
    """An invalid path; the message says where it is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """One level down: to the member named ``name`` or the element at ``index``.

    Digits in a JSON Pointer set both. If neither is set, the step leads to every child.
    """

    name: str | None = None
    index: int | None = None

    def children(self, value: object) -> Iterable[Any]:
        """Return the children of ``value`` that the step leads to."""
        if type(value) is dict:
            if self.name is not None:
                return (value[self.name],) if self.name in value else ()
            return value.values() if self.index is None else ()
        if type(value) is list:
            if self.index is not None:
                return value[self.index :][:1] if -len(value) <= self.index else ()
            return value if self.name is None else ()
        return ()

    def covers(self, token: str) -> bool:
        """Return whether the step may lead to the target of a JSON Pointer's ``token``."""
        if self.name == token or (self.name is None and self.index is None):
            return True
        return self.index is not None and (self.index < 0 or str(self.index) == token)


@dataclass(frozen=True, slots=True)
class Path:
    """One place in a resource object, or several.

    ``steps`` lead there. If steps cannot express the path, ``query`` does, at about a
    hundred times the cost.
    """

    text: str
    steps: tuple[PathStep, ...]
    query: JSONPath | None = None

    @classmethod
    def of_pointer(cls, text: str) -> Path:
        """Parse a JSON Pointer (RFC 6901); its first slash is optional, as in MaxScale."""
        _check_length(text)
        steps = tuple(
            PathStep(token, int(token) if _INDEX.fullmatch(token) else None)
            for token in pointer_tokens(text)
        )
        return cls(text, steps)

    @classmethod
    def of_jsonpath(cls, text: str) -> Path:
        """Parse a JSONPath (RFC 9535); its root ``$.`` is optional, as in MaxScale.

        A filter selector (``?``) may compare and combine single values, but not call
        functions: ``match`` and ``search`` of RFC 9535 run an untrusted caller's regular
        expression, and nothing here needs the others.
        """
        _check_length(text)
        rooted = "$." + text if PLAIN_NAME.match(text) else text
        steps = _plain_steps(rooted)
        if steps is not None:
            return cls(text, steps)
        return cls(text, (), _compile(text, rooted))

    @classmethod
    def of_name(cls, text: str) -> Path:
        """Parse a field as written in ``sort``, from the attributes or from the resource object.

        Examples: ``user``, ``client.cipher``, ``client/cipher``, ``id``, ``attributes.user``,
        ``/attributes/user``. A path from the resource object starts with a slash or with
        the name of one of its members.
        """
        _check_length(text)
        tokens = pointer_tokens(text) if "/" in text else text.split(".")
        if not text.startswith("/") and tokens[0] not in RESOURCE_MEMBERS:
            tokens = ["attributes", *tokens]
        if not all(tokens):
            raise PathError(
                f"{quoted_name(text)} is not the name of a field, such as user, client.cipher or id"
            )
        escaped = (token.replace("~", "~0").replace("/", "~1") for token in tokens)
        return cls.of_pointer("".join("/" + token for token in escaped))

    @property
    def pointer(self) -> str | None:
        """The path as a JSON Pointer; None if it may lead to several places."""
        tokens = []
        for step in self.steps:
            if step.name is not None:
                tokens.append(step.name.replace("~", "~0").replace("/", "~1"))
            elif step.index is not None and step.index >= 0:
                tokens.append(str(step.index))
            else:
                return None
        return None if self.query else "".join("/" + token for token in tokens)

    @property
    def names_id(self) -> bool:
        """Whether the path's last name is ``id``; see `id_number`."""
        if self.query is None:
            return bool(self.steps) and self.steps[-1].name == "id"
        return bool(self.query.segments) and all(
            isinstance(selector, NameSelector) and selector.name == "id"
            for selector in self.query.segments[-1].selectors
        )

    def reads(self, pointer: str) -> bool:
        """Return whether the path's target may contain, or lie in, the target of ``pointer``."""
        tokens = pointer_tokens(pointer)
        return all(step.covers(token) for step, token in zip(self.steps, tokens, strict=False))

    def values(self, resource: Resource) -> Iterable[Any]:
        """Return the values at the path in document order; none if it does not exist."""
        if self.query is not None:
            return (node.obj for node in self.query.finditer(resource))
        found: list[Any] = [resource]
        for step in self.steps:
            found = [child for value in found for child in step.children(value)]
        return found

    def getter(self) -> Callable[[Resource], Any]:
        """Compile a function that gets the first of `values`, or `MISSING`, for frequent use."""
        if self.pointer is None:
            return lambda resource: next(iter(self.values(resource)), MISSING)
        steps = tuple((step.name, step.index) for step in self.steps)

        def get(value: Any) -> Any:
            for name, index in steps:
                kind = type(value)
                if kind is dict:
                    value = value.get(name, MISSING)
                elif kind is list and index is not None and index < len(value):
                    value = value[index]
                else:
                    return MISSING
            return value

        return get


def pointer_tokens(text: str) -> list[str]:
    """Return a JSON Pointer's tokens; its first slash is optional. Raises `PathError`."""
    if fault := _BAD_ESCAPE.search(text):
        raise PathError(
            f"{quoted_name(text)} is not a JSON Pointer: at offset {fault.start()},"
            " '~' must be written ~0 (and '/' in a name ~1)"
        )
    return [
        token.replace("~1", "/").replace("~0", "~") for token in text.removeprefix("/").split("/")
    ]


def id_number(text: str) -> int | None:
    """Return an id as an integer of at most 20 digits; None for any other id.

    In JSON:API, all ids are strings.
    """
    return int(text) if _DECIMAL.fullmatch(text) else None


def almost_jsonpath(text: str) -> str | None:
    """Return the JSONPath meant by a string of names and indexes that is not one, if any."""
    almost = _ALMOST.fullmatch(text)
    if almost is None:
        return None
    words = re.split("[./]", almost["path"])
    meant = "$" + "".join(f"[{word}]" if word.isdecimal() else f".{word}" for word in words)
    return meant if len(meant) <= MAX_PATH_LENGTH else None


def _check_length(text: str) -> None:
    if not text:
        raise PathError("a path is required, such as id, /attributes/user or $.attributes.user")
    if len(text) > MAX_PATH_LENGTH:
        raise PathError(
            f"a path must be at most {MAX_PATH_LENGTH} characters long, got {len(text)}"
        )


def _plain_steps(text: str) -> tuple[PathStep, ...] | None:
    """Return the steps of a JSONPath of names, indexes and wildcards; None for any other."""
    if not text.startswith("$"):
        return None
    steps, position = [], 1
    while position < len(text):
        found = _STEP.match(text, position)
        if found is None:
            return None
        if found["any"]:
            steps.append(PathStep())
        elif found["index"]:
            steps.append(PathStep(index=int(found["index"])))
        else:
            names = (found["name"], found["single"], found["double"])
            steps.append(PathStep(name=next(name for name in names if name is not None)))
        position = found.end()
    return tuple(steps)


class _Environment(JSONPathEnvironment):
    def setup_function_extensions(self) -> None:
        """Set up none; see `Path.of_jsonpath`."""


_JSONPATH = _Environment(strict=True, filter_caching=False)


def _compile(text: str, rooted: str) -> JSONPath:
    try:
        query = _JSONPATH.compile(rooted)
    # The library raises the last two if a number in a path is too large.
    except (JSONPathError, ArithmeticError, ValueError) as error:
        raise PathError(_why(error, text, rooted)) from None
    _check_cost(text, cast(JSONPath, query))  # compound paths exist only outside strict mode
    return cast(JSONPath, query)


def _why(error: Exception, text: str, rooted: str) -> str:
    if not isinstance(error, JSONPathError):
        return f"{quoted_name(text)} is not a JSONPath (RFC 9535): a number in it is too large"
    index = error.token.index if error.token is not None else 0
    if index < 0:  # the library's end of text
        index = len(rooted)
    offset = max(0, index - (len(rooted) - len(text)))
    return (
        f"{quoted_name(text)} is not a JSONPath (RFC 9535, without functions): at offset {offset},"
        f" {shorten(str(error.message))}"
    )


def _check_cost(text: str, query: JSONPath) -> None:
    fan_out, descents = 1, 0
    expressions: list[BaseExpression] = []
    for segment in query.segments:
        fan_out *= len(segment.selectors)
        descents += isinstance(segment, JSONPathRecursiveDescentSegment)
        expressions += [
            selector.expression for selector in segment.selectors if isinstance(selector, Filter)
        ]
    if fan_out > MAX_FAN_OUT or descents > MAX_DESCENTS:
        raise PathError(
            f"{quoted_name(text)} is too expensive: at most {MAX_FAN_OUT} combinations of"
            f" selectors and {MAX_DESCENTS} '..' are allowed"
        )
    while expressions:
        expression = expressions.pop()
        if isinstance(expression, FilterQuery) and not expression.path.singular_query():
            raise PathError(
                f"{quoted_name(text)} is too expensive: a path inside '?' may consist only of"
                " names and indexes, such as @.server"
            )
        expressions += expression.children()
