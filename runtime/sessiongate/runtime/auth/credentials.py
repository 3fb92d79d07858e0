"""The credentials that callers may present, and the files to check them with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_AUDIENCE = "sessiongate"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The accepted credentials. Each file is read again when it changes."""

    users: Path | None = None  # names and password hashes: runtime.auth.htpasswd
    token_key: Path | None = None  # the public key of bearer tokens: runtime.auth.tokens
    token_secret: Path | None = None  # instead of it, the secret that they are signed with
    token_audience: str = DEFAULT_AUDIENCE  # required `aud` claim of bearer tokens
    core_token: Path | None = None  # the tokens of gateways: runtime.auth.core_token
    certificates: bool = False  # whether a client's certificate is sufficient

    @property
    def has_tokens(self) -> bool:
        """Whether bearer tokens are accepted."""
        return bool(self.token_key or self.token_secret)

    @property
    def wanted(self) -> bool:
        """Whether callers must present credentials."""
        return bool(self.users or self.has_tokens or self.core_token or self.certificates)
