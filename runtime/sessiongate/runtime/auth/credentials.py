"""What callers may show, and the files that it is checked with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_AUDIENCE = "sessiongate"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What callers may show. Each file is read again when it changes."""

    users: Path | None = None  # names and hashes of passwords: runtime.htpasswd
    token_key: Path | None = None  # the public key of bearer tokens: runtime.tokens
    token_secret: Path | None = None  # in its place, the secret that they are signed with
    token_audience: str = DEFAULT_AUDIENCE  # whom bearer tokens must be for
    core_token: Path | None = None  # what gateways show: runtime.core_token
    certificates: bool = False  # whether a client's certificate, where it is known, is enough

    @property
    def has_tokens(self) -> bool:
        """Whether callers may show bearer tokens."""
        return bool(self.token_key or self.token_secret)

    @property
    def wanted(self) -> bool:
        """Whether callers must show anything."""
        return bool(self.users or self.has_tokens or self.core_token or self.certificates)
