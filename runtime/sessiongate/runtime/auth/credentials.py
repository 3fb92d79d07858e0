"""The credentials that callers may present, and the files to check them with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sessiongate.runtime.auth.operators import OperatorClaim

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
    operators: Path | None = None  # names of those who may act: runtime.auth.operators
    operator_claims: tuple[OperatorClaim, ...] = ()  # one of these, too, makes an operator

    @property
    def has_tokens(self) -> bool:
        """Whether bearer tokens are accepted."""
        return bool(self.token_key or self.token_secret)

    @property
    def has_operators(self) -> bool:
        """Whether a caller may have the role of an operator, also one that a gateway names."""
        return bool(self.operators or self.operator_claims or self.core_token)

    @property
    def wanted(self) -> bool:
        """Whether callers must present credentials."""
        return bool(self.users or self.has_tokens or self.core_token or self.certificates)
