"""Bearer tokens: what is a valid key, and which tokens it accepts."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.runtime.auth.identity import ExpiredCredentialsError, WrongCredentialsError
from sessiongate.runtime.auth.tokens import (
    LEEWAY,
    Claims,
    TokenKey,
    read_token_key,
    read_token_secret,
)
from sessiongate.runtime.watched_file import FileError

SECRET = b"0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Any] = {
    "RS256": RSA,
    "PS512": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "HS256": SECRET,
}


def pem(key: Any) -> bytes:
    """Return the public half of a key, or the secret."""
    if isinstance(key, bytes):
        return key
    form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_key().public_bytes(*form)
    return encoded


def key_in(path: Path) -> TokenKey:
    """Read what a file holds: a public key, or the secret."""
    if path.read_bytes().startswith(SECRET):
        return read_token_secret(path)
    return read_token_key(path)


def private_pem(key: Any) -> bytes:
    encoded: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return encoded


CERTIFICATE: bytes = trustme.CA().cert_pem.bytes()


def claims(**changes: Any) -> dict[str, Any]:
    """Return a valid token's claims, with changes; None removes one."""
    good = {"sub": "alice", "aud": "sessiongate", "exp": time.time() + 600}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(algorithm: str = "HS256", key: Any = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key or KEYS[algorithm], algorithm)


def subject(token: str, key: bytes | TokenKey = SECRET) -> str:
    return read(token, key).subject


def read(token: str, key: bytes | TokenKey = SECRET) -> Claims:
    key = key if isinstance(key, TokenKey) else TokenKey(key, ("HS256",))
    return key.claims(token, "sessiongate")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "token.key"
    path.touch(0o600)
    return path


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_of_the_key_names_its_subject(path: Path, algorithm: str) -> None:
    path.write_bytes(pem(KEYS[algorithm]) + b"\n")
    assert subject(signed(algorithm), key_in(path)) == "alice"


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_key_takes_no_other_keys_tokens(path: Path, algorithm: str) -> None:
    path.write_bytes(pem(KEYS[algorithm]))
    key = key_in(path)
    for other, signer in KEYS.items():
        if signer is not KEYS[algorithm]:
            with pytest.raises(WrongCredentialsError):
                subject(signed(other), key)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_is_no_secret(path: Path, algorithm: str) -> None:
    """The oldest of attacks: a token signed by HMAC with the public key, which anyone may know."""
    path.write_bytes(pem(KEYS[algorithm]))
    key = read_token_key(path)
    secret = jwt.get_algorithm_by_name("HS256")
    head = encoded({"alg": "HS256", "typ": "JWT"}) + "." + encoded(claims())
    signature = secret.sign(head.encode(), path.read_bytes())
    forged = f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    with pytest.raises(WrongCredentialsError):
        subject(forged, key)


def test_a_token_without_a_signature_is_wrong() -> None:
    for algorithm in ("none", "None", "HS256"):
        with pytest.raises(WrongCredentialsError):
            subject(f"{encoded({'alg': algorithm})}.{encoded(claims())}.")


def test_a_secret_takes_one_algorithm() -> None:
    with pytest.raises(WrongCredentialsError):
        subject(jwt.encode(claims(), SECRET * 2, "HS512"), SECRET * 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": "tomorrow"},
        {"aud": None},
        {"aud": "another"},
        {"aud": ["another", "third"]},
        {"aud": {"sessiongate": 1}},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "a" * 256},
        {"nbf": time.time() + 10 * 365 * 86400},  # made long before the test runs
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_token_that_lacks_something_is_wrong(changes: dict[str, Any]) -> None:
    token = f"{encoded({'alg': 'HS256'})}.{encoded(claims(**changes))}"
    signature = jwt.get_algorithm_by_name("HS256").sign(token.encode(), SECRET)
    with pytest.raises(WrongCredentialsError):
        subject(f"{token}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


@pytest.mark.parametrize("exp", [2e9, 2_000_000_000, "2000000000"])
def test_a_token_says_when_it_ends(exp: object) -> None:
    assert read(signed(exp=exp)).ends == 2_000_000_000 + LEEWAY


def test_a_token_may_end_too_late_for_a_clock() -> None:
    assert time.time() + 1e9 < read(signed(exp=10**400)).ends < 1e15


def test_a_token_for_many_is_for_us_too() -> None:
    assert subject(signed(aud=["another", "sessiongate"])) == "alice"


def test_an_old_token_has_expired_and_a_forged_old_one_is_wrong() -> None:
    with pytest.raises(ExpiredCredentialsError):
        subject(signed(exp=time.time() - LEEWAY - 1))
    with pytest.raises(WrongCredentialsError):
        subject(signed(key=SECRET[::-1], exp=time.time() - LEEWAY - 1))


def test_clocks_may_differ_a_little() -> None:
    assert subject(signed(exp=time.time() - LEEWAY / 2)) == "alice"
    assert subject(signed(nbf=time.time() + LEEWAY / 2)) == "alice"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126)) | st.binary().map(repr))
def test_any_other_text_is_wrong(text: str) -> None:
    for token in (text, f"{text}.{text}.{text}", f"{encoded({'alg': 'HS256'})}.{text}.{text}"):
        with pytest.raises(WrongCredentialsError):
            subject(token)


@pytest.mark.parametrize("shape", ["[" * 3000 + "]" * 3000, '{"a":' * 1000 + "1" + "}" * 1000])
def test_nested_json_is_wrong(shape: str) -> None:
    inner = base64.urlsafe_b64encode(shape.encode()).rstrip(b"=").decode()
    for token in (f"{inner}.{inner}.AAAA", f"{encoded({'alg': 'HS256'})}.{inner}.AAAA"):
        with pytest.raises(WrongCredentialsError):
            subject(token)


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"", "contains no PEM public key"),
        (SECRET, "a secret shared with the issuer of tokens is for --token-secret"),
        (private_pem(RSA), "use only its public key, which `openssl pkey -in .* -pubout` prints"),
        (pem(RSA) + private_pem(RSA), "contains a private key"),
        (CERTIFICATE, "its public key, which `openssl x509 -in .* -noout -pubkey` prints"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no PEM public key"),
        (pem(rsa.generate_private_key(65537, 1024)), "RSA with at least 2048 bits"),
        (pem(ec.generate_private_key(ec.SECP256K1())), r"\(P-256, P-384 or P-521\)"),
        (pem(ed448.Ed448PrivateKey.generate()), "or Ed25519"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(path: Path, content: bytes, trouble: str) -> None:
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"token\.key.*{trouble}"):
        read_token_key(path)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_in_another_form_is_no_secret(path: Path, algorithm: str) -> None:
    key = KEYS[algorithm].public_key()
    jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(key)
    for content in (
        key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" me@here\n",
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        jwk.encode() if isinstance(jwk, str) else json.dumps(jwk).encode(),
    ):
        path.write_bytes(content)
        with pytest.raises(FileError, match="contains a public key, but not as PEM"):
            read_token_key(path)
        with pytest.raises(FileError, match="contains a key or a certificate, not a secret"):
            read_token_secret(path)


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"", "a secret must have at least 32 bytes, got 0; `openssl rand -hex 32` makes a secret"),
        (SECRET[:31] + b"\n", "a secret must have at least 32 bytes, got 31;"),
        (pem(RSA), "a public key is for --token-key"),
        (private_pem(RSA), "contains a key or a certificate, not a secret"),
        (CERTIFICATE, "contains a key or a certificate, not a secret"),
        (b"alice:$2y$10$" + 53 * b"a" + b"\n", "they are for --users"),
        (b"# ours\nalice:$apr1$" + 53 * b"a" + b"\n", "they are for --users"),
        (b"alice:{SHA}" + 53 * b"a" + b"\n", "they are for --users"),
        (b'http = "127.0.0.1:8989"\ngrpc = "127.0.0.1:50051"\n', "a secret must be one line"),
    ],
)
def test_a_secret_that_is_none_is_named(path: Path, content: bytes, trouble: str) -> None:
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"token\.key.*{re.escape(trouble)}"):
        read_token_secret(path)


def test_a_secret_may_be_any_bytes(path: Path) -> None:
    path.write_bytes(b"\xff\n" * 17 + b"\r\n")
    assert read_token_secret(path).key == b"\xff\n" * 16 + b"\xff"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o666])
def test_a_secret_that_every_user_can_get_at_is_refused(path: Path, mode: int) -> None:
    path.write_bytes(SECRET)
    path.chmod(mode)
    with pytest.raises(FileError, match=rf"\(mode {mode:04o}\); run chmod o-rwx {path}"):
        read_token_secret(path)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_secrets_group_may_read_it(path: Path, mode: int) -> None:
    path.write_bytes(SECRET)
    path.chmod(mode)
    assert subject(signed(), read_token_secret(path)) == "alice"


def test_a_key_does_not_show() -> None:
    assert SECRET.decode() not in repr(TokenKey(SECRET, ("HS256",)))


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
