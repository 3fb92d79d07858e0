"""The nearest right name for a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """The known name that is nearest to a word, or two that it is a part of; none if none is."""
    names = {name.lower(): name for name in sorted(known)}
    lowered = word.lower()
    parts = [name for name in names if len(lowered) > 2 and lowered in name][:2]
    return [names[name] for name in parts or get_close_matches(lowered, names, 1, cutoff)]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for what is near, or nothing."""
    near = nearest(word, known)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
