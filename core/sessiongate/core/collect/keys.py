"""Keys of sessions as the core keeps them: a long one is hashed, never cut."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

KEY_BYTES = 256  # a longer key is hashed: if cut, it could be another session's


def short(key: str) -> str:
    """Return the key itself, or a hash of it if it is long."""
    encoded = key.encode(errors="surrogatepass")
    if len(encoded) <= KEY_BYTES:
        return key
    return f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def shorten_all(connection: sa.Connection, sessions: sa.Table) -> None:
    """Hash the long keys of open sessions that an older core wrote: their ids stay."""
    size = sa.func.length(sa.cast(sessions.c.key, sa.LargeBinary))
    wanted = sa.select(sessions.c.id, sessions.c.key).where(
        sessions.c.closed_time.is_(None), size > KEY_BYTES
    )
    for ident, key in connection.execute(wanted).all():
        shortened = sa.update(sessions).where(sessions.c.id == ident).values(key=short(key))
        connection.execute(shortened)
