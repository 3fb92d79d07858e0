"""Bearer tokens: JSON Web Tokens, signed by one key that pins the algorithm."""

from __future__ import annotations

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

from runtime.file_value import FileError, read_file
from runtime.identity import ExpiredCredentialsError, WrongCredentialsError

MIN_SECRET = 32  # bytes
MIN_RSA = 2048  # bits
MAX_SUBJECT = 255  # characters, as OpenID Connect has it
LEEWAY = 10  # seconds that clocks may differ

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {SECP256R1: "ES256", SECP384R1: "ES384", SECP521R1: "ES512"}

_FAR = 1 << 40  # seconds since the epoch; a number may be too large for a float

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class Claims(NamedTuple):
    """What counts of a token that is good."""

    subject: str  # whose it is
    ends: float  # when it stops being good, in seconds since the epoch


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that tokens are checked with, and the algorithms that it is for."""

    key: PublicKey | bytes = field(repr=False)
    algorithms: tuple[str, ...]

    def claims(self, token: str, audience: str) -> Claims:
        """Read a token. Raises `WrongCredentialsError` or `ExpiredCredentialsError`.

        It must have ``exp``, which is to come, ``aud``, which has ``audience`` in it,
        and ``sub``, which can be printed and is not long; if it has ``nbf``, that must
        be past.
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
        return Claims(subject, float(min(int(claims["exp"]), _FAR) + LEEWAY))


def read_token_key(path: Path) -> TokenKey:
    """A public key in PEM, or a secret: all that the file holds but a newline at its end.

    Raises `FileError`.
    """
    content = read_file(path)
    if b"-----BEGIN" in content:
        return _public_key(path, content)
    if _is_public(content):
        raise FileError(f"{path} holds a public key, but not in PEM (BEGIN PUBLIC KEY)")
    secret = content.rstrip(b"\r\n")
    if len(secret) < MIN_SECRET:
        raise FileError(
            f"{path} holds neither a public key in PEM nor a secret of {MIN_SECRET} bytes or more"
        )
    return TokenKey(secret, ("HS256",))


def _is_public(content: bytes) -> bool:
    """Whether what is not in PEM is a key all the same: as a secret everyone would know it."""
    for load in (load_ssh_public_key, load_der_public_key):
        try:
            load(content)
        except (ValueError, UnsupportedAlgorithm):
            continue
        return True
    return content.lstrip().startswith(b"{")  # a JSON Web Key


def _public_key(path: Path, content: bytes) -> TokenKey:
    if b"PRIVATE KEY-----" in content:
        raise FileError(f"{path} holds a private key: to check tokens, the public one is enough")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise FileError(f"{path} holds no public key in PEM (BEGIN PUBLIC KEY)") from None
    match key:
        case RSAPublicKey() if key.key_size >= MIN_RSA:
            return TokenKey(key, _RSA)
        case EllipticCurvePublicKey() if type(key.curve) in _CURVES:
            return TokenKey(key, (_CURVES[type(key.curve)],))
        case Ed25519PublicKey():
            return TokenKey(key, ("EdDSA",))
    raise FileError(
        f"{path}: a key must be RSA of {MIN_RSA} bits or more, of the curves P-256, P-384 or"
        " P-521, or Ed25519"
    )
