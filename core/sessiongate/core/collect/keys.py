"""Keys of sessions as the core stores them: long ones are hashed, never cut."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

KEY_BYTES = 256  # a longer key is hashed: cut, it could equal another session's


def short(key: str) -> str:
    """Return the key, or its hash if it is long."""
    if len(key) <= KEY_BYTES // 4:  # a character takes at most four bytes
        return key
    encoded = key.encode(errors="surrogatepass")
    if len(encoded) <= KEY_BYTES:
        return key
    return f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def shorten_all(connection: sa.Connection, sessions: sa.Table) -> None:
    """Hash long keys of open sessions that an older core wrote, so that their ids stay."""
    size = sa.func.length(sa.cast(sessions.c.key, sa.LargeBinary))
    wanted = sa.select(sessions.c.id, sessions.c.key).where(
        sessions.c.closed_time.is_(None), size > KEY_BYTES
    )
    for ident, key in connection.execute(wanted).all():
        shortened = sa.update(sessions).where(sessions.c.id == ident).values(key=short(key))
        connection.execute(shortened)
