"""Clients' statements, as sessions show them."""

from __future__ import annotations

from sessiongate.v1.session_pb2 import Query

MAX_STATEMENT_BYTES = 16 * 1024


def statement(text: str) -> Query:
    """Return a query with this statement, cut to `MAX_STATEMENT_BYTES`, without times."""
    whole = text.encode(errors="replace")
    kept = whole[:MAX_STATEMENT_BYTES]
    # The cut may fall within a character.
    return Query(statement=kept.decode(errors="ignore"), truncated=len(kept) < len(whole))
