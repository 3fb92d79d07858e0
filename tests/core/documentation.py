"""Parses what docs/sources.md says of a kind of source, for the tests that check it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.snippets import texts

_TEXT = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (?P<name>[^|]+) \| (?P<words>[^|]+) \|$", re.MULTILINE)


def section(kind: str) -> str:
    """Return the section with this heading."""
    found = re.search(rf"^## {kind}\n(.*?)(?=^## |\Z)", _TEXT, re.DOTALL | re.MULTILINE)
    assert found, kind
    return found[1]


def block(kind: str, language: str) -> str:
    """Return the only code block in a language of a kind's section."""
    (found,) = texts("docs/sources.md", language, kind)
    return found


def states(kind: str) -> dict[str, str]:
    """Return the table of states: the words for a session's, by what the source calls it."""
    return _table(kind, "session")


def activities(kind: str) -> dict[str, str]:
    """Return the table of activities: the words for a session's, by what the source calls it."""
    return _table(kind, "activity")


def _table(kind: str, shown: str) -> dict[str, str]:
    _, _, table = section(kind).partition(f"| {kind} says | {shown} |\n|---|---|\n")
    assert table, kind
    rows = table.partition("\n\n")[0]
    return {
        name: found["words"]
        for found in _ROW.finditer(rows)
        for name in re.findall(r"^`([^`]+)`", found["name"]) or ["nothing"]
    }
