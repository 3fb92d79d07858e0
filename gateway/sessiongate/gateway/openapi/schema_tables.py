"""Schemas as HTML tables of their members."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sessiongate.gateway.openapi.markup import (
    code,
    heading,
    line,
    link_to,
    prose,
    row,
    table,
)
from sessiongate.gateway.openapi.schema import Schema

_FORMATS = {"date-time": "date and time (RFC 3339)", "uri": "URL"}


class _Member(NamedTuple):
    name: str  # with those of the objects around it, as in `client.cipher`
    schema: Schema
    required: bool


def schema_link(schema: Schema) -> str:
    """Return a link to the schema that a reference names."""
    name = _target(schema)
    return link_to(f"schema-{name}", name)


def type_of(schema: Schema, *, plural: bool = False) -> str:
    """Return in a few words, as HTML, which values a schema allows."""
    if "$ref" in schema:
        return schema_link(schema)
    if "anyOf" in schema:
        return " or ".join(map(type_of, schema["anyOf"]))
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join("null" if value is None else code(value) for value in schema["enum"])
    kind = schema["type"]
    if kind == "array":
        return f"list of {type_of(schema['items'], plural=True)}"
    if kind == "object" and isinstance(values := schema.get("additionalProperties"), dict):
        return f"object of {type_of(values, plural=True)}"
    names: list[str] = kind if isinstance(kind, list) else [kind]
    if "format" in schema:
        names = [_FORMATS[schema["format"]], *names[1:]]
    return " or ".join(names) + ("s" if plural else "") + _range(schema)


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None:
        return ""
    return f" from {least}" if most is None else f", {least} to {most}"


def reached(schemas: Schema, first: Iterable[str]) -> list[str]:
    """Return the schemas that the first ones lead to, each before those that it names."""
    found: dict[str, None] = {}
    waiting = [*first][::-1]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            waiting += [*_named(schemas[name])][::-1]
    return [*found]


def _named(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield _target(schema)
        for part in schema.values():
            yield from _named(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _named(part)


def _target(schema: Schema) -> str:
    name: str = schema["$ref"].rpartition("/")[2]
    return name


def schema_section(name: str, schemas: Schema) -> str:
    """Return the section of one schema."""
    schema, anchor = schemas[name], f"schema-{name}"
    rows = [
        row(
            code(member.name).replace(".", ".<wbr>"),
            type_of(member.schema)
            + ("<br><small>always present</small>" if member.required else ""),
            line(_about(member.schema, schemas)),
            anchor=f"{anchor}-{member.name}",
        )
        for member in _members(schema)
    ]
    about = schema.get("description", "")
    return "".join(
        [
            f'<section id="{anchor}">{heading(3, anchor, name)}',
            prose(about) if about else "",
            table(("Member", "Type", "Description"), rows) if rows else f"<p>{type_of(schema)}</p>",
            "</section>",
        ]
    )


def _members(schema: Schema, before: str = "") -> Iterator[_Member]:
    """Yield the members of an object and of the objects in it, the outer ones first."""
    for name, part in schema.get("properties", {}).items():
        yield _Member(before + name, part, name in schema.get("required", ()))
        yield from _members(part, f"{before}{name}.")


def _about(schema: Schema, schemas: Schema) -> str:
    """Return a schema's description, or else that of the schema that it refers to."""
    found = schemas[_target(schema)] if "$ref" in schema else schema
    about: str = found.get("description", "")
    return about
