"""Keys of sessions as the core stores them: long ones are hashed, never cut."""

from __future__ import annotations

import hashlib

KEY_BYTES = 256  # a longer key is hashed: cut, it could equal another session's


def short(key: str) -> str:
    """Return the key, or its hash if it is long."""
    if len(key) <= KEY_BYTES // 4:  # a character takes at most four bytes
        return key
    encoded = key.encode(errors="surrogatepass")
    if len(encoded) <= KEY_BYTES:
        return key
    return f"sha256:{hashlib.sha256(encoded).hexdigest()}"
