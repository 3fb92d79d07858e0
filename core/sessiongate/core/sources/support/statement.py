"""Statements that clients run, as a session shows them."""

from __future__ import annotations

from sessiongate.v1.session_pb2 import Query

MAX_BYTES = 16 * 1024


def statement(text: str) -> Query:
    """A query with this statement, cut where it is longer than `MAX_BYTES`, and no times."""
    whole = text.encode(errors="replace")
    kept = whole[:MAX_BYTES]
    # The cut may fall within a character.
    return Query(statement=kept.decode(errors="ignore"), truncated=len(kept) < len(whole))
