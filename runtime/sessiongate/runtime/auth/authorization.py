"""The ``Authorization`` header: Basic (RFC 7617) or Bearer (RFC 6750)."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field

from sessiongate.runtime.auth.identity import WrongCredentialsError

MAX_AUTHORIZATION_LENGTH = 8192  # characters

_FORM = re.compile(r"([A-Za-z]+) +([A-Za-z0-9._~+/-]+=*)", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Password:
    """A user name and the password sent with it."""

    name: str
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token of any kind: visible ASCII."""

    text: str = field(repr=False)


def read_authorization(value: str) -> Password | Token:
    """Parse a header's value. Raises `WrongCredentialsError`, which states what is allowed."""
    found = _FORM.fullmatch(value) if len(value) <= MAX_AUTHORIZATION_LENGTH else None
    match found.groups() if found else ("", ""):
        case scheme, encoded if scheme.lower() == "basic":
            return _password(encoded)
        case scheme, token if scheme.lower() == "bearer":
            return Token(token)
    raise WrongCredentialsError("Authorization must be either Basic or Bearer, only once")


def _password(encoded: str) -> Password:
    try:
        text = b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    name, colon, password = text.partition(":")
    if not colon or _CONTROL.search(text):
        raise WrongCredentialsError("Basic must be NAME:PASSWORD in UTF-8, encoded as base64")
    return Password(name, password.encode())
