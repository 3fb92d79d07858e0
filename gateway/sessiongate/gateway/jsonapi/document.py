"""JSON:API documents as bytes: compact, or indented for people; whole, or piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

MEDIA_TYPE = "application/vnd.api+json"

_INDENT = 4


def dump(document: object, *, pretty: bool) -> bytes:
    """A JSON value in UTF-8, as short as it gets or indented by 4; no newline at the end."""
    return _text(document, pretty).encode()


def top_meta(members: Mapping[str, Any]) -> dict[str, Any]:
    """The top-level member ``meta``, where there is something to say in it."""
    return {"meta": dict(members)} if members else {}


class CollectionWriter:
    """A document whose ``data`` is a list, written piece by piece.

    ``opening``, any number of ``items``, ``closing``: joined, they are what
    `dump` gives for the whole document.
    """

    def __init__(self, *, pretty: bool) -> None:
        self._pretty = pretty
        self._empty = True

    def opening(self, members: Mapping[str, Any]) -> bytes:
        """All that stands before the first item: the members before ``data``."""
        before, bracket, _ = _text({**members, "data": []}, self._pretty).rpartition("[")
        return (before + bracket).encode()

    def items(self, objects: Iterable[Mapping[str, Any]]) -> bytes:
        """The next items."""
        # Items stand two levels deep. A line break is always one of the layout:
        # inside a string JSON escapes it.
        between = "\n" + 2 * _INDENT * " " if self._pretty else ""
        texts = [_text(item, self._pretty).replace("\n", between) for item in objects]
        if not texts:
            return b""
        before = between if self._empty else "," + between
        self._empty = False
        return (before + ("," + between).join(texts)).encode()

    def written(self, items: bytes) -> bytes:
        """The next items, written already: compact, with commas between them."""
        if not items:
            return b""
        before = b"" if self._empty else b","
        self._empty = False
        return before + items

    def closing(self, members: Mapping[str, Any]) -> bytes:
        """All that stands after the last item: the members after ``data``."""
        if self._empty:
            end = _text({"data": []}, self._pretty).rpartition("[")[2]
        else:
            end = _text({"data": [0]}, self._pretty).rpartition("0")[2]
        if members:
            end = end[: end.index("]") + 1] + "," + _text(members, self._pretty)[1:]
        return end.encode()


def _text(value: object, pretty: bool) -> str:
    if pretty:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=_INDENT)
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
