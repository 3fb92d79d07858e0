"""Finding one session in a table, and saying why it is not there."""

from __future__ import annotations

from sessiongate.core.errors import (
    CoreError,
    NotReadyError,
    SessionNotFoundError,
    SourceUnreachableError,
)
from sessiongate.core.table.table import SessionTable


def settle(table: SessionTable) -> None:
    """Bring the table up to date. Raises `NotReadyError`."""
    table.deadlines.enforce()
    if not table.ready.is_set():
        raise NotReadyError("some sources have neither been read nor failed yet; retry shortly")


def missing(table: SessionTable, ident: int) -> CoreError:
    """Return the error for an id that the table does not have."""
    source = table.unseen.get(ident)
    if source is not None:
        text = f"session {ident} belongs to the source {source!r}, which is unreachable"
        return SourceUnreachableError(text, source=source, id=str(ident))
    return SessionNotFoundError(f"no session with id {ident}", id=str(ident))
