"""Bearer tokens: JSON Web Tokens, signed with one key or secret that pins the algorithm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    load_der_public_key,
    load_pem_public_key,
    load_ssh_public_key,
)

from sessiongate.runtime.auth.identity import ExpiredCredentialsError, WrongCredentialsError
from sessiongate.runtime.watched_file import FileError, read_file, refuse_what_others_read

MIN_SECRET = 32  # bytes
MIN_RSA = 2048  # bits
MAX_SUBJECT = 255  # characters, as in OpenID Connect
LEEWAY = 10  # seconds that clocks may differ

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {SECP256R1: "ES256", SECP384R1: "ES384", SECP521R1: "ES512"}

# A line of htpasswd: a password's hash, in any of its forms.
_HTPASSWD = re.compile(rb"^[^:\s]+:(\$(2[abxy]|apr1|[156])\$|\{SHA\})", re.MULTILINE)
_HOW_TO_MAKE = "`openssl rand -hex 32` makes a secret"

_FAR = 1 << 40  # seconds since the epoch: an `exp` may be too large for a float

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class Claims(NamedTuple):
    """The claims of a valid token that are used."""

    subject: str  # its owner
    ends: float  # when it expires, in seconds since the epoch
    all: Mapping[str, object]  # as they are in the token


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key to check tokens with, and the algorithms it is for."""

    key: PublicKey | bytes = field(repr=False)
    algorithms: tuple[str, ...]

    def claims(self, token: str, audience: str) -> Claims:
        """Read a token. Raises `WrongCredentialsError` or `ExpiredCredentialsError`.

        It must have ``exp``, in the future; ``aud``, which contains ``audience``; and ``sub``,
        printable and of at most `MAX_SUBJECT` characters. ``nbf``, if any, must be past.
        """
        try:
            claims = jwt.decode(
                token,
                self.key,
                algorithms=self.algorithms,
                audience=audience,
                leeway=LEEWAY,
                options={"require": ["exp", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise ExpiredCredentialsError from None
        except jwt.PyJWTError:
            raise WrongCredentialsError from None
        subject: str = claims["sub"]
        if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
            raise WrongCredentialsError
        return Claims(subject, float(min(int(claims["exp"]), _FAR) + LEEWAY), claims)


def read_token_key(path: Path) -> TokenKey:
    """Return the public key in a PEM file. Raises `FileError`, which says what to do."""
    content = read_file(path)
    if b"PRIVATE KEY-----" in content:
        raise FileError(
            f"{path} contains a private key; use only its public key, which"
            f" `openssl pkey -in {path} -pubout` prints"
        )
    if b"BEGIN CERTIFICATE-----" in content:
        raise FileError(
            f"{path} contains a certificate; use its public key, which"
            f" `openssl x509 -in {path} -noout -pubkey` prints"
        )
    if _is_public(content):
        raise FileError(f"{path} contains a public key, but not as PEM (BEGIN PUBLIC KEY)")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise FileError(
            f"{path} contains no PEM public key (BEGIN PUBLIC KEY); a secret shared with the"
            " issuer of tokens is for --token-secret"
        ) from None
    return _token_key(path, key)


def read_token_secret(path: Path) -> TokenKey:
    """Return the secret: the whole file except a newline at its end. Raises `FileError`.

    Anything that is clearly not a secret is refused: others may know it.
    """
    content = read_file(path)
    secret = content.rstrip(b"\r\n")
    if b"-----BEGIN" in content or _is_public(content):
        raise FileError(
            f"{path} contains a key or a certificate, not a secret; a public key is for"
            f" --token-key; {_HOW_TO_MAKE}"
        )
    if _HTPASSWD.search(content):
        raise FileError(
            f"{path} contains users and password hashes, not a secret; they are for --users;"
            f" {_HOW_TO_MAKE}"
        )
    if len(secret) < MIN_SECRET:
        raise FileError(
            f"{path}: a secret must have at least {MIN_SECRET} bytes, got {len(secret)};"
            f" {_HOW_TO_MAKE}"
        )
    if _is_text(secret) and b"\n" in secret:
        raise FileError(f"{path}: a secret must be one line; {_HOW_TO_MAKE}")
    refuse_what_others_read(path)
    return TokenKey(secret, ("HS256",))


def _is_public(content: bytes) -> bool:
    """Return whether non-PEM content is a public key, which would be known to everybody."""
    for load in (load_ssh_public_key, load_der_public_key):
        try:
            load(content)
        except (ValueError, UnsupportedAlgorithm):
            continue
        return True
    return content.lstrip().startswith(b"{")  # a JSON Web Key


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _token_key(path: Path, key: object) -> TokenKey:
    match key:
        case RSAPublicKey() if key.key_size >= MIN_RSA:
            return TokenKey(key, _RSA)
        case EllipticCurvePublicKey() if type(key.curve) in _CURVES:
            return TokenKey(key, (_CURVES[type(key.curve)],))
        case Ed25519PublicKey():
            return TokenKey(key, ("EdDSA",))
    raise FileError(
        f"{path}: the key must be RSA with at least {MIN_RSA} bits, an elliptic curve key"
        " (P-256, P-384 or P-521), or Ed25519"
    )
