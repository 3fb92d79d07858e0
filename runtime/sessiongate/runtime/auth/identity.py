"""The identity of a caller, and the errors that refuse one."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar
from urllib.parse import quote, unquote

from sessiongate.v1.errors import Reason

# The gRPC metadata in which a gateway names its caller, as `Identity.encode` does.
CALLER_METADATA = "x-sessiongate-caller"


class Proof(StrEnum):
    """What a caller has shown."""

    PASSWORD = "password"  # noqa: S105 - the word, not one
    TOKEN = "token"  # noqa: S105
    CERTIFICATE = "certificate"
    GATEWAY = "gateway"  # the secret that gateways share with their core


def _confirmed() -> None:
    """Confirm what is good for as long as a connection lives."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller that has shown who it is."""

    name: str  # a user's, a token's subject, a certificate's
    proof: Proof
    # Raises `Refusal` once what the caller has shown is no longer good. Call it again and
    # again while an answer goes on.
    confirm: Callable[[], None] = field(default=_confirmed, compare=False, repr=False)

    def encode(self) -> str:
        """Encode name and proof as ASCII with a single space, for a header or metadata."""
        return f"{self.proof} {quote(self.name, safe='')}"

    @classmethod
    def decode(cls, text: str) -> Identity:
        """Read what `encode` wrote. Raises `ValueError`."""
        proof, space, name = text.partition(" ")
        if not space:
            raise ValueError("not an identity")
        return cls(unquote(name, errors="strict"), Proof(proof))


# Who makes the request being answered here; None if nobody needs to say.
caller: ContextVar[Identity | None] = ContextVar("caller", default=None)


class Refusal(Exception):
    """A caller may not call. The text is for the caller, and repeats nothing that it sent."""

    reason: ClassVar[Reason]  # what clients tell refusals apart by


class MissingCredentialsError(Refusal):
    """The caller has shown nothing."""

    reason = Reason.CREDENTIALS_MISSING

    def __init__(self) -> None:
        super().__init__("this needs credentials")


class WrongCredentialsError(Refusal):
    """What the caller has shown is wrong."""

    reason = Reason.CREDENTIALS_WRONG

    def __init__(self, text: str = "the credentials are wrong") -> None:
        super().__init__(text)


class ExpiredCredentialsError(Refusal):
    """What the caller has shown was right once."""

    reason = Reason.CREDENTIALS_EXPIRED

    def __init__(self) -> None:
        super().__init__("the token has expired")


class TooManyAttemptsError(Refusal):
    """Too many wrong passwords from one place, or too many at once from everywhere."""

    reason = Reason.TOO_MANY_ATTEMPTS

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many attempts; try again later")
        self.retry_after = retry_after  # seconds, above 0
