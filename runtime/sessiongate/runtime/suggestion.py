"""Suggestions of the nearest known name for a misspelt one."""

from __future__ import annotations

from collections.abc import Collection, Iterable

MAX_NAME_LENGTH = 40  # characters of a name to look up, which a client may have sent


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Return up to two known names that contain a word, else the nearest one, if any.

    Of equally near names, return the first.
    """
    names = {name.lower(): name for name in known}
    lowered = word.lower()
    parts = [name for name in names if len(lowered) > 2 and lowered in name][:2]
    return [names[name] for name in parts or closest(lowered, names)[:1]]


def closest(word: str, known: Iterable[str]) -> list[str]:
    """Return the names that a word may be a misspelling of, the nearest first."""
    found = {name: edits(word, name) for name in known}
    near = {name: count for name, count in found.items() if count is not None}
    return sorted(near, key=near.__getitem__)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for near names, else nothing."""
    return as_question(nearest(word, known))


def as_question(near: Collection[str]) -> str:
    """Return the same for given names; nothing if one is longer than ours can be."""
    if not near or any(len(name) > 2 * MAX_NAME_LENGTH for name in near):
        return ""
    return f"; did you mean {' or '.join(map(repr, near))}?"


def quoted_name(text: str) -> str:
    """Quote a text, cut if it is longer than any name."""
    return repr(text) if len(text) <= MAX_NAME_LENGTH else f"{text[:MAX_NAME_LENGTH]!r}..."


def shorten(text: str) -> str:
    """Cut a text like `quoted_name`, without quotes."""
    return text if len(text) <= MAX_NAME_LENGTH else f"{text[:MAX_NAME_LENGTH]}..."


def edits(one: str, other: str) -> int | None:
    """Count the edits from one word to another; None if above a third of the longer length.

    Swapping two adjacent letters is one edit.
    """
    length = max(len(one), len(other))
    most = length // 3
    if length > MAX_NAME_LENGTH or abs(len(one) - len(other)) > most:
        return None
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, before, row = before, row, [i]
        for j, right in enumerate(other, 1):
            count = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != right))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == right:
                count = min(count, above[j - 2] + 1)
            row.append(count)
        if min(row) > most and min(before) > most:
            return None
    return row[-1] if row[-1] <= most else None
