"""The fenced blocks of the documentation, for the tests that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path for room in (".", "docs", "deploy", "bench") for path in (ROOT / room).glob("*.md")
)
_HEADING = re.compile(r"(?P<level>#+) (?P<text>.*)")
_FENCE = re.compile(r" *(?P<fence>`{3,}|~{3,})(?P<language>.*)")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fenced block: its document, the headings above it, its language and text."""

    document: str
    headings: tuple[str, ...]  # from the second level on
    language: str
    text: str


@cache
def snippets() -> Sequence[Snippet]:
    """Return every fenced block of every document."""
    return [*_read()]


def _read() -> Iterator[Snippet]:
    for path in DOCUMENTS:
        document = str(path.relative_to(ROOT))
        headings: list[str] = []
        lines = iter(path.read_text(encoding="utf-8").splitlines(keepends=True))
        for line in lines:
            if heading := _HEADING.match(line):
                headings[len(heading["level"]) - 1 :] = [heading["text"]]
            elif found := _FENCE.match(line):
                text = _until(found["fence"], lines)
                yield Snippet(document, tuple(headings[1:]), found["language"].strip(), text)


def _until(fence: str, lines: Iterator[str]) -> str:
    return "".join(takewhile(lambda line: line.strip() != fence, lines))


def texts(document: str, language: str, heading: str | None = None) -> list[str]:
    """Return the blocks of a document in a language: all, or those under a heading."""
    return [
        snippet.text
        for snippet in snippets()
        if (snippet.document, snippet.language) == (document, language)
        and (heading is None or heading in snippet.headings)
    ]


def examples(document: str, heading: str | None = None) -> list[tuple[str, str]]:
    """Return the commands of console blocks, each with the output that follows it.

    They are those of a document: all, or those under a heading.
    """
    return [
        (command, output)
        for text in texts(document, "console", heading)
        for command, output in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", text, re.MULTILINE)
    ]
