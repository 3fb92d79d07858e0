"""Who a caller is, and how it is told that it may not call."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote


class Proof(StrEnum):
    """What a caller has shown."""

    PASSWORD = "password"  # noqa: S105 - the word, not one
    TOKEN = "token"  # noqa: S105
    CERTIFICATE = "certificate"
    GATEWAY = "gateway"  # the secret that gateways share with their core


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller that has shown who it is."""

    name: str  # a user's, a token's subject, a certificate's
    proof: Proof

    def encode(self) -> str:
        """As ASCII without spaces but for one, for a header or metadata."""
        return f"{self.proof} {quote(self.name, safe='')}"

    @classmethod
    def decode(cls, text: str) -> Identity:
        """Read what `encode` wrote. Raises `ValueError`."""
        proof, space, name = text.partition(" ")
        if not space:
            raise ValueError("not an identity")
        return cls(unquote(name, errors="strict"), Proof(proof))


class Refusal(Exception):
    """A caller may not call. The text is for the caller, and repeats nothing of what it sent."""


class MissingCredentialsError(Refusal):
    """It has shown nothing."""

    def __init__(self) -> None:
        super().__init__("this needs credentials")


class WrongCredentialsError(Refusal):
    """What it has shown is not right."""

    def __init__(self, text: str = "the credentials are wrong") -> None:
        super().__init__(text)


class ExpiredCredentialsError(Refusal):
    """What it has shown was right once."""

    def __init__(self) -> None:
        super().__init__("the token has expired")


class TooManyAttemptsError(Refusal):
    """Too many wrong passwords came from there, or too many at once from everywhere."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many attempts; try again later")
        self.retry_after = retry_after  # seconds, above 0
