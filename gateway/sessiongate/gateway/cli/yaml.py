"""JSON values as YAML: in blocks, each text in quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

# A key that needs no quotes: no word of these is anything but a text in any version of YAML.
_BARE = re.compile(r"(?!(?:n|y|no|yes|on|off|null|true|false)$)[a-z][a-z_]*")


def yaml_text(value: Any) -> str:
    """Return a JSON value as YAML, with a newline at the end. It controls no terminal."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, member in value.items():
            name = key if _BARE.fullmatch(key) else _quoted(key)
            if _is_scalar(member):
                yield f"{name}: {_scalar(member)}"
            else:
                yield f"{name}:"
                indent = "" if isinstance(member, list) else "  "
                yield from (f"{indent}{line}" for line in _lines(member))
    elif isinstance(value, list) and value:
        for member in value:
            first, *others = _lines(member)
            yield f"- {first}"
            yield from (f"  {line}" for line in others)
    else:
        yield _scalar(value)


def _is_scalar(value: Any) -> bool:
    return not (isinstance(value, Mapping | list) and value)


def _scalar(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    if quoted.isprintable():
        return quoted
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)
