"""Writes manual pages in the macros of man(7), which every reader of manuals knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_SECTIONS = {1: "User Commands", 5: "File Formats"}
_WIDTH = 78  # of the file's own lines
_WHOLE = ".nh"  # words, such as flags and names of pages, are not hyphenated; .EE forgets it
# Characters that roff reads otherwise, or that it shows as others.
_SPECIAL = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
_SPECIAL |= {'"': "\\(dq"}
# Words to type: in backquotes, or a flag.
_TYPED = re.compile(r"`([^`]+)`|(?<![\w-])(--?[a-z][\w-]*)")
_HYPHEN = re.compile(r"(?<=[A-Za-z])-(?=[A-Za-z])")
_SENTENCE = re.compile(r"(?<=[.:;]) ")


def verbatim(text: str) -> str:
    """Return text that is shown verbatim, to be copied and typed."""
    return "".join(
        _SPECIAL.get(each) or (each if each.isascii() else _coded(each)) for each in text
    )


def in_bold(text: str) -> str:
    """Return literal text in bold."""
    return f"\\fB{verbatim(text)}\\fR"


def in_italics(text: str) -> str:
    """Return literal text in italics."""
    return f"\\fI{verbatim(text)}\\fR"


def in_words(text: str) -> str:
    """Return a text for people; what they have to type is bold."""
    parts = []
    end = 0
    for found in _TYPED.finditer(text):
        parts += [_words(text[end : found.start()]), in_bold(found[1] or found[2])]
        end = found.end()
    return "".join([*parts, _words(text[end:])])


def _words(text: str) -> str:
    return "-".join(map(verbatim, _HYPHEN.split(text)))


def _coded(character: str) -> str:
    return f"\\[u{ord(character):04X}]"


class ManualPage:
    """A page of the manual, written from top to bottom."""

    def __init__(self, name: str, section: int, date: str, program: str) -> None:
        """Begin a page; ``program`` is the program's name and version."""
        title = verbatim(name.upper())
        self._lines = [
            f'.TH "{title}" {section} {date} "{verbatim(program)}" "{_SECTIONS[section]}"',
            _WHOLE,
            ".ad l",
        ]

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._lines.append(f".SH {verbatim(text)}")

    def subheading(self, text: str) -> None:
        """Begin a part of a section."""
        self._lines.append(f'.SS "{verbatim(text)}"')

    def paragraphs(self, texts: Iterable[str]) -> None:
        """Write texts for people; the first follows a heading."""
        for number, text in enumerate(texts):
            if number:
                self._lines.append(".PP")
            self.formatted(in_words(text))

    def formatted(self, text: str) -> None:
        """Write a text that is formatted already."""
        for sentence in _SENTENCE.split(text):
            self._lines += _wrapped(sentence)

    def entry(self, term: str, *texts: str) -> None:
        """Write a formatted term with the texts that explain it, each on lines of its own."""
        self._lines += [".TP", term]
        for number, text in enumerate(texts):
            if number:
                self._lines.append(".br")
            self.formatted(text)

    def example(self, lines: Iterable[str]) -> None:
        """Write lines as they are typed."""
        self._lines += [".EX", *(_guarded(verbatim(line)) for line in lines), ".EE", _WHOLE]

    def __str__(self) -> str:
        """Return the file's text."""
        return "".join(f"{line}\n" for line in self._lines)


def _wrapped(text: str) -> Iterator[str]:
    """Yield a sentence in lines that are not too long."""
    line = ""
    for word in text.split():
        if line and len(line) + len(word) >= _WIDTH:
            yield _guarded(line)
            line = word
        else:
            line = f"{line} {word}".lstrip()
    if line:
        yield _guarded(line)


def _guarded(line: str) -> str:
    """Return a line of text that begins with a dot, so that it is no macro."""
    return f"\\&{line}" if line.startswith((".", "'")) else line
