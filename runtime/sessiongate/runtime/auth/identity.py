"""The identity of a caller, and the errors for refused callers."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar
from urllib.parse import quote, unquote

from sessiongate.v1.errors import Reason

# The gRPC metadata key with a gateway's caller, as written by `Identity.encode`.
CALLER_METADATA = "x-sessiongate-caller"
# Those with the role that the gateway gives its caller, `OPERATOR` or nothing, and with the
# address that its caller has.
ROLE_METADATA = "x-sessiongate-role"
ADDRESS_METADATA = "x-sessiongate-address"
OPERATOR = "operator"


class Proof(StrEnum):
    """The kind of credentials that a caller has presented."""

    PASSWORD = "password"  # noqa: S105 - the word, not a password
    TOKEN = "token"  # noqa: S105
    CERTIFICATE = "certificate"
    GATEWAY = "gateway"  # the secret that gateways share with their core


def _confirmed() -> None:
    """Confirm credentials that stay valid as long as the connection."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller."""

    name: str  # of a user, a token's subject or a certificate
    proof: Proof
    # Raises `Refusal` once the caller's credentials are no longer valid. Call it repeatedly
    # while a response is in progress.
    confirm: Callable[[], None] = field(default=_confirmed, compare=False, repr=False)
    is_operator: bool = False  # whether it may act on sessions, as far as sources allow that

    def encode(self) -> str:
        """Encode proof and name as ASCII with a single space, for a header or metadata."""
        return f"{self.proof} {quote(self.name, safe='')}"

    @classmethod
    def decode(cls, text: str) -> Identity:
        """Read what `encode` wrote. Raises `ValueError`."""
        proof, space, name = text.partition(" ")
        if not space:
            raise ValueError("not an identity")
        return cls(unquote(name, errors="strict"), Proof(proof))


# The caller of the current request; None if no credentials are required.
caller: ContextVar[Identity | None] = ContextVar("caller", default=None)
# The address that a gateway states of its caller; empty if no gateway calls.
caller_address: ContextVar[str] = ContextVar("caller_address", default="")


def caller_metadata(address: str, *, open_to_all: bool) -> list[tuple[str, str]]:
    """Return the metadata that names the caller of the current request to a core.

    It calls from ``address``, if that is known. With ``open_to_all``, a caller without
    credentials has the role of an operator.
    """
    identity = caller.get()
    metadata = [] if identity is None else [(CALLER_METADATA, identity.encode())]
    if open_to_all if identity is None else identity.is_operator:
        metadata.append((ROLE_METADATA, OPERATOR))
    if address:
        metadata.append((ADDRESS_METADATA, address))
    return metadata


class Refusal(Exception):
    """The caller is refused. The text is for the caller, and repeats nothing that it sent."""

    reason: ClassVar[Reason]  # on which clients branch


class MissingCredentialsError(Refusal):
    """The caller has presented no credentials."""

    reason = Reason.CREDENTIALS_MISSING

    def __init__(self) -> None:
        super().__init__("credentials are required")


class WrongCredentialsError(Refusal):
    """The caller's credentials are wrong."""

    reason = Reason.CREDENTIALS_WRONG

    def __init__(self, text: str = "the credentials are wrong") -> None:
        super().__init__(text)


class ExpiredCredentialsError(Refusal):
    """The caller's credentials have expired."""

    reason = Reason.CREDENTIALS_EXPIRED

    def __init__(self) -> None:
        super().__init__("the token has expired")


class TooManyAttemptsError(Refusal):
    """Too many wrong passwords from one place, or too many at once from everywhere."""

    reason = Reason.TOO_MANY_ATTEMPTS

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many attempts; retry later")
        self.retry_after = retry_after  # seconds, above 0
