"""What callers may show, and the files to check it with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_AUDIENCE = "sessiongate"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What callers may show. Each file is read again when it changes."""

    users: Path | None = None  # names and password hashes: runtime.auth.htpasswd
    token_key: Path | None = None  # the public key of bearer tokens: runtime.auth.tokens
    token_secret: Path | None = None  # instead of it, the secret that signs them
    token_audience: str = DEFAULT_AUDIENCE  # whom bearer tokens must be for
    core_token: Path | None = None  # what gateways show: runtime.auth.core_token
    certificates: bool = False  # whether a client's certificate, if known, is enough

    @property
    def has_tokens(self) -> bool:
        """Whether callers may show bearer tokens."""
        return bool(self.token_key or self.token_secret)

    @property
    def wanted(self) -> bool:
        """Whether callers must show anything."""
        return bool(self.users or self.has_tokens or self.core_token or self.certificates)
