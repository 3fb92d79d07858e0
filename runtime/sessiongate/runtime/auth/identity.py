"""Who a caller is, and how it is told that it may not call."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar
from urllib.parse import quote, unquote

# The gRPC metadata that a gateway names its caller in, as `Identity.encode` does.
CALLER_METADATA = "x-sessiongate-caller"


class Proof(StrEnum):
    """What a caller has shown."""

    PASSWORD = "password"  # noqa: S105 - the word, not one
    TOKEN = "token"  # noqa: S105
    CERTIFICATE = "certificate"
    GATEWAY = "gateway"  # the secret that gateways share with their core


def _confirmed() -> None:
    """What is good for as long as a connection lives."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller that has shown who it is."""

    name: str  # a user's, a token's subject, a certificate's
    proof: Proof
    # Raises `Refusal` once what it has shown is good no more. To be asked again and again
    # while an answer goes on.
    confirm: Callable[[], None] = field(default=_confirmed, compare=False, repr=False)

    def encode(self) -> str:
        """Name and proof as ASCII without spaces but for one, for a header or metadata."""
        return f"{self.proof} {quote(self.name, safe='')}"

    @classmethod
    def decode(cls, text: str) -> Identity:
        """Read what `encode` wrote. Raises `ValueError`."""
        proof, space, name = text.partition(" ")
        if not space:
            raise ValueError("not an identity")
        return cls(unquote(name, errors="strict"), Proof(proof))


# Who makes the request that is being answered here; None where nobody needs to say.
caller: ContextVar[Identity | None] = ContextVar("caller", default=None)


class Refusal(Exception):
    """A caller may not call. The text is for the caller, and repeats nothing of what it sent."""

    reason: ClassVar[str]  # what clients tell refusals apart by


class MissingCredentialsError(Refusal):
    """It has shown nothing."""

    reason = "CREDENTIALS_MISSING"

    def __init__(self) -> None:
        super().__init__("this needs credentials")


class WrongCredentialsError(Refusal):
    """What it has shown is not right."""

    reason = "CREDENTIALS_WRONG"

    def __init__(self, text: str = "the credentials are wrong") -> None:
        super().__init__(text)


class ExpiredCredentialsError(Refusal):
    """What it has shown was right once."""

    reason = "CREDENTIALS_EXPIRED"

    def __init__(self) -> None:
        super().__init__("the token has expired")


class TooManyAttemptsError(Refusal):
    """Too many wrong passwords came from there, or too many at once from everywhere."""

    reason = "TOO_MANY_ATTEMPTS"

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many attempts; try again later")
        self.retry_after = retry_after  # seconds, above 0
