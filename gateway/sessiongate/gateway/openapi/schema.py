"""JSON Schema, and what schemas and parameters are made of."""

from __future__ import annotations

from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

ASCTIME = (
    r"^[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}$"  # a pattern
)


def ref(name: str) -> Schema:
    """Return a reference to a schema of the description."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: Schema, *required: str, about: str = "") -> Schema:
    """Return the schema of an object; without ``required``, members may be left out."""
    made: Schema = {"type": "object", "properties": properties}
    if required:
        made["required"] = [*required]
    return {"description": about, **made} if about else made


def array_of(items: Schema, about: str = "", **more: Any) -> Schema:
    """Return the schema of an array."""
    made: Schema = {"type": "array", "items": items, **more}
    return {"description": about, **made} if about else made


def text_of(about: str, **more: Any) -> Schema:
    """Return the schema of a string."""
    return {"type": "string", "description": about, **more}


def fixed(value: str) -> Schema:
    """Return the schema of a fixed string. Generated clients also need its type."""
    return {"type": "string", "const": value}


def whole(about: str) -> Schema:
    """Return the schema of an integer of at least 0."""
    return {"type": "integer", "minimum": 0, "description": about}


def query_parameter(name: str, schema: Schema, about: str, example: Any, **more: Any) -> Schema:
    """Return a parameter of the query."""
    return {
        "name": name,
        "in": "query",
        "description": about,
        **more,
        "schema": schema,
        "example": example,
    }
