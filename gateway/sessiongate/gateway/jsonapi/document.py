"""JSON:API documents as bytes: compact or indented, whole or in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring
from typing import Any

MEDIA_TYPE = "application/vnd.api+json"

_INDENT = 4
# Made once: `json.dumps` would make an encoder each time, and note each object to find cycles.
_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


def dump(document: object, *, pretty: bool) -> bytes:
    """Serialize to JSON in UTF-8, compact or indented by 4, without a final newline."""
    return _text(document, pretty).encode()


def top_meta(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the top-level member ``meta``, or nothing if it would be empty."""
    return {"meta": dict(members)} if members else {}


class CollectionWriter:
    """Writes a document whose ``data`` is a list, in pieces.

    ``opening``, any number of ``items`` and ``closing``, concatenated, equal what `dump`
    returns for the whole document.
    """

    def __init__(self, *, pretty: bool) -> None:
        self._pretty = pretty
        self._empty = True

    def opening(self, members: Mapping[str, Any]) -> bytes:
        """Return everything before the first item; ``members`` come before ``data``."""
        before, bracket, _ = _text({**members, "data": []}, self._pretty).rpartition("[")
        return (before + bracket).encode()

    def items(self, objects: Iterable[Mapping[str, Any]]) -> bytes:
        """Return the next items."""
        # Items are two levels deep. All line breaks are layout: JSON escapes those inside
        # strings.
        between = "\n" + 2 * _INDENT * " " if self._pretty else ""
        texts = [_text(item, self._pretty).replace("\n", between) for item in objects]
        if not texts:
            return b""
        before = between if self._empty else "," + between
        self._empty = False
        return (before + ("," + between).join(texts)).encode()

    def written(self, items: bytes) -> bytes:
        """Return the next items, given as compact JSON with commas between them."""
        if not items:
            return b""
        before = b"" if self._empty else b","
        self._empty = False
        return before + items

    def closing(self, members: Mapping[str, Any]) -> bytes:
        """Return everything after the last item; ``members`` come after ``data``."""
        if self._empty:
            end = _text({"data": []}, self._pretty).rpartition("[")[2]
        else:
            end = _text({"data": [0]}, self._pretty).rpartition("0")[2]
        if members:
            end = end[: end.index("]") + 1] + "," + _text(members, self._pretty)[1:]
        return end.encode()


def _text(value: object, pretty: bool) -> str:
    if pretty:
        return _indented(value, "\n")
    return _encode(value)


def _indented(value: object, newline: str) -> str:
    """Return what `json.dumps` would, in half the time; ``newline`` begins the lines of a value."""
    if isinstance(value, str):
        return encode_basestring(value)
    inner = newline + _INDENT * " "
    if isinstance(value, Mapping) and value:
        members = [
            f"{encode_basestring(name)}: {_indented(member, inner)}"
            for name, member in value.items()
        ]
        return "{" + inner + ("," + inner).join(members) + newline + "}"
    if isinstance(value, list | tuple) and value:
        items = [_indented(item, inner) for item in value]
        return "[" + inner + ("," + inner).join(items) + newline + "]"
    return json.dumps(value, allow_nan=False)
