"""The names that others rely on: of commands, settings, parameters, members, codes and metrics.

``make release-surface`` writes it to docs/surface.txt when a release is made. From then on,
tests/test_compatibility.py refuses to drop a line of it silently. The contract has its own record,
proto/released.binpb, and its own check, ``buf breaking``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, NoReturn

import typer

from sessiongate import client
from sessiongate.core import sources
from sessiongate.core.sources.base import COMMON_OPTIONS, ENTRY_POINT_GROUP, SourceConfig
from sessiongate.gateway.api.action_operations import ACTIONS
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.cli.main import app
from sessiongate.gateway.openapi.description import describe
from sessiongate.v1.errors import Reason
from tests.test_operations import documented

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "docs" / "surface.txt"
_METHODS = ("get", "post", "delete")  # HEAD is that of GET
_LOCATIONS = {"document": "tests/data/sessions.json", "haproxy": "/run/haproxy.sock"}


def surface() -> list[str]:
    """Return a line for each name: its kind, what it belongs to, the name, and its type."""
    description = describe((*OPERATIONS, *ACTIONS), "http://localhost")
    found = {
        *_commands(typer.main.get_command(app), ""),
        *_exit_codes((ROOT / "README.md").read_text(encoding="utf-8")),
        *_operations(description),
        *(
            line
            for name, schema in description["components"]["schemas"].items()
            for line in _members(name, "", schema)
        ),
        *(f"error {status} {code}" for status, code in _codes(description)),
        *(f"reason grpc {reason}" for reason in Reason),
        *(f"python sessiongate.client {name}" for name in client.__all__),
        *(f"python sessiongate.core.sources {name}" for name in sources.__all__),
        *_source_options(),
        *_metrics(),
    }
    return sorted(found)


def unannounced(recorded: str, now: Iterable[str], changelog: str) -> list[str]:
    """Return the recorded lines that are missing now although the changelog does not say so.

    A name must stand in "Removed", in a section later than the recorded release, as code; if others
    keep the same name, with what it belongs to. From 1.0 on, it must also stand in "Deprecated" of
    that release or of an earlier one.
    """
    title, *lines = recorded.splitlines()
    release = title.removeprefix("# sessiongate ")
    later, _, earlier = changelog.partition(f"\n## [{release}]")
    removed, deprecated = _named(later, "Removed"), _named(earlier, "Deprecated")
    kept = {*now}
    owners: dict[str, set[str]] = {}
    for line in kept:
        owners.setdefault(name_of(line), set()).add(_owner_of(line))

    def is_named(line: str, named: set[str]) -> bool:
        owner, name = _owner_of(line), name_of(line)
        is_shared = bool(owners.get(name, {owner}) - {owner})
        return _is_among(name, named) and (owner in named or not is_shared)

    return [
        line
        for line in lines
        if line not in kept
        and not (
            is_named(line, removed) and (release.startswith("0.") or is_named(line, deprecated))
        )
    ]


def name_of(line: str) -> str:
    """Return the name in a line, as the changelog is to write it."""
    kind, rest = line.split(" ", 1)
    if kind in ("operation", "value"):
        return rest.split(" ", 1)[1]
    if kind == "answer":
        return rest.split(" ")[2]
    return rest.split(" ")[0 if kind == "metric" else 1]


def _owner_of(line: str) -> str:
    """Return what the name in a line belongs to: a command, an operation, a schema."""
    return line.split(" ")[1].partition(".")[0].replace("/", " ")


def _named(changelog: str, title: str) -> set[str]:
    """Return what stands as code below a title, in all sections of a changelog."""
    parts = re.split(r"^##+ (.*)$", changelog, flags=re.MULTILINE)
    texts = [text for name, text in zip(parts[1::2], parts[2::2], strict=True) if name == title]
    return {*re.findall(r"`([^`]+)`", " ".join(texts))}


def _is_among(name: str, named: set[str]) -> bool:
    """Return whether a name is among others, or below one of them."""
    return any(name == each or name.startswith(f"{each}.") for each in named)


def _commands(command: Any, path: str) -> Iterator[str]:
    for parameter in command.params:
        owner = path.replace(" ", "/") or "sessiongate"
        if parameter.param_type_name == "option":
            variable = f" {parameter.envvar}" if parameter.envvar else ""
            for flag in (*parameter.opts, *parameter.secondary_opts):
                yield f"flag {owner} {flag}{variable}"
        else:
            yield f"argument {owner} {parameter.name}"
    for name, each in getattr(command, "commands", {}).items():
        yield f"command {path or 'sessiongate'} {name}"
        yield from _commands(each, f"{path} {name}".strip())


def _exit_codes(readme: str) -> Iterator[str]:
    """Yield the codes of the README's table, whose columns name the commands."""
    table = readme.partition("## Exit codes\n")[2].partition("\n##")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    for column, title in enumerate(rows[0][1:], start=1):
        for row in rows[2:]:
            if row[column].strip():
                for command in re.findall(r"`([a-z-]+)`", title):
                    yield f"exit {command} {row[0].strip()}"


def _operations(description: dict[str, Any]) -> Iterator[str]:
    for path, methods in description["paths"].items():
        for method in (each for each in _METHODS if each in methods):
            operation = methods[method]
            name = f"{method.upper()} {path}"
            yield f"operation {operation['operationId']} {name}"
            for status, answer in operation["responses"].items():
                for kind in answer.get("content", {}) if status < "400" else ():
                    yield f"answer {operation['operationId']} {status} {kind}"
            for parameter in operation["parameters"]:
                described = _resolved(parameter, description)
                owner = f"{operation['operationId']} {described['name']}"
                yield f"parameter {owner} {_type(described['schema'])}"
                for value in _values(described["schema"]):
                    yield f"value {owner.replace(' ', '.')} {value}"


def _members(owner: str, path: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield what a schema has: its members by path, and their values if those are listed."""
    for value in _values(schema):
        yield f"value {owner}.{path} {value}"
    for name, member in schema.get("properties", {}).items():
        below = f"{path}.{name}".lstrip(".")
        yield f"member {owner} {below} {_type(member)}"
        yield from _members(owner, below, member)
    if "items" in schema:
        yield from _members(owner, path, schema["items"])


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "items" in schema:
        return f"list-of-{_type(schema['items'])}"
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        return "|".join(sorted({_type(choice) for choice in choices}))
    found = schema.get("type", "any")
    return "|".join(found) if isinstance(found, list) else str(found)


def _values(schema: dict[str, Any]) -> list[Any]:
    found: list[Any] = schema.get("enum") or _items_of(schema).get("enum") or []
    return [*found, *([schema["const"]] if "const" in schema else [])]


def _items_of(schema: dict[str, Any]) -> dict[str, Any]:
    items: dict[str, Any] = schema.get("items", {})
    return {} if "properties" in items else items


def _resolved(found: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in found:
        for step in found["$ref"].removeprefix("#/").split("/"):
            description = description[step]
        return description
    return found


def _codes(description: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for methods in description["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                for code in _resolved(answer, description).get("x-codes", {}):
                    yield status, code


class _Allowed(Exception):
    """Carries the options that a kind of source allows."""


class _Asked(SourceConfig):
    """Reports the options that a kind allows instead of taking them."""

    def take(self, *allowed: str) -> NoReturn:
        raise _Allowed(*allowed)


def _source_options() -> Iterator[str]:
    for found in entry_points(group=ENTRY_POINT_GROUP):
        if not found.value.startswith("sessiongate."):
            continue  # a plugin that is installed here
        yield f"source {found.name} {found.name}:"
        location = _LOCATIONS.get(found.name, "//user@db.example:1")
        try:
            found.load()(_Asked(kind=found.name, location=location, name=found.name))
        except _Allowed as allowed:
            for option in (*COMMON_OPTIONS, *allowed.args):
                yield f"source {found.name} {option}"


def _metrics() -> Iterator[str]:
    for name, kind, labels in documented().values():
        yield f"metric {name} {kind}"
        for label in labels:
            yield f"label {name} {label}"


if __name__ == "__main__":
    lines = [f"# sessiongate {version('sessiongate')}", *surface()]
    RECORDED.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
