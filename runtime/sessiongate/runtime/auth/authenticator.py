"""Authentication of callers, in one place for REST and gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from secrets import token_bytes
from typing import TYPE_CHECKING

from sessiongate.runtime.auth.authorization import Password, Token, read_authorization
from sessiongate.runtime.auth.core_token import is_one_of, read_core_tokens
from sessiongate.runtime.auth.credentials import Credentials
from sessiongate.runtime.auth.htpasswd import read_users
from sessiongate.runtime.auth.identity import (
    ExpiredCredentialsError,
    Identity,
    MissingCredentialsError,
    Proof,
    Refusal,
    WrongCredentialsError,
)
from sessiongate.runtime.auth.operators import read_operators
from sessiongate.runtime.auth.passwords import Passwords
from sessiongate.runtime.watched_file import WatchedFile

if TYPE_CHECKING:  # else imported when used: PyJWT is slow to import
    from sessiongate.runtime.auth.tokens import TokenKey

ACCEPTED = 1.0  # seconds for which accepted credentials are not read again
_MOST = 1024  # credentials that are known at a time
GATEWAY = "gateway"  # the name of a caller with the core's token


class Authenticator:
    """Identifies callers by their credentials; use it inside one running loop."""

    def __init__(
        self, credentials: Credentials, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the files. Raises `FileError`."""
        self._clock = clock
        # By mark, a hash under a key that only this process knows: who sent these credentials,
        # and until when they are only confirmed, not read again.
        self._accepted: dict[bytes, tuple[Identity, float]] = {}
        self._marking = blake2b(key=token_bytes(32), digest_size=32)
        self._audience = credentials.token_audience
        self._certificates = credentials.certificates
        self._passwords = self._core_tokens = None
        if path := credentials.users:
            users = WatchedFile([path], partial(read_users, path), clock=clock)
            self._passwords = Passwords(lambda: users.value, clock)
        self._token_key = _token_key(credentials, clock)
        self._operators: WatchedFile[frozenset[str]] | None = None
        if path := credentials.operators:
            read = partial(read_operators, path)
            self._operators = WatchedFile([path], read, fallback=frozenset[str](), clock=clock)
        self._operator_claims = credentials.operator_claims
        if path := credentials.core_token:
            self._core_tokens = WatchedFile([path], partial(read_core_tokens, path), clock=clock)
        self.challenges = _challenges(credentials)  # values of WWW-Authenticate

    async def authenticate(
        self, authorization: str | None, certificate: str | None, address: str
    ) -> Identity:
        """Return the caller. Raises `Refusal`.

        ``authorization`` is the header's value; several are joined by commas. It takes
        precedence over ``certificate``, the name in the client's certificate.
        ``address`` is the IP address that the call comes from.
        """
        if authorization is not None:
            return self.known(authorization) or await self._read(authorization, address)
        if certificate is not None and self._certificates:
            is_operator = self._is_named(certificate)
            return Identity(certificate, Proof.CERTIFICATE, is_operator=is_operator)
        raise MissingCredentialsError

    def known(self, authorization: str | None) -> Identity | None:
        """Return who sent credentials that were accepted a moment ago and still are, if any.

        It is what `authenticate` would return, without waiting for a coroutine.
        """
        return None if authorization is None else self.marked(self.mark(authorization))

    def marked(self, mark: bytes) -> Identity | None:
        """Do the same as `known`, given the `mark` of the credentials."""
        identity, until = self._accepted.get(mark, (None, 0.0))
        if identity is None or self._clock() >= until:
            return None
        try:
            identity.confirm()
        except Refusal:  # read them again: they may be right for another reason now
            return None
        return identity

    def close(self) -> None:
        """Stop the thread that checks passwords."""
        if self._passwords:
            self._passwords.close()

    def mark(self, authorization: str) -> bytes:
        """Return a hash of credentials under a key that only this process knows."""
        hashed = self._marking.copy()
        hashed.update(authorization.encode())
        return hashed.digest()

    async def _read(self, authorization: str, address: str) -> Identity:
        match read_authorization(authorization):
            case Password(name, password):
                identity = await self._user(name, password, address)
            case Token(text):
                identity = self._bearer(text)
        if identity.proof is not Proof.GATEWAY:  # which nothing confirms
            if len(self._accepted) >= _MOST:
                self._accepted.clear()
            self._accepted[self.mark(authorization)] = identity, self._clock() + ACCEPTED
        return identity

    async def _user(self, name: str, password: bytes, address: str) -> Identity:
        if not self._passwords:
            raise WrongCredentialsError
        hashed = await self._passwords.check(name, password, address)
        if hashed is None:
            raise WrongCredentialsError
        confirm = partial(self._passwords.confirm, name, hashed)
        return Identity(name, Proof.PASSWORD, confirm, self._is_named(name))

    def _bearer(self, token: str) -> Identity:
        if self._core_tokens and is_one_of(token, self._core_tokens.value):
            return Identity(GATEWAY, Proof.GATEWAY)
        if not self._token_key:
            raise WrongCredentialsError
        key = self._token_key.value
        subject, ends, claims = key.claims(token, self._audience)
        is_operator = any(claim.is_in(claims) for claim in self._operator_claims)
        confirm = partial(_confirm_token, self._token_key, key, ends)
        return Identity(subject, Proof.TOKEN, confirm, is_operator or self._is_named(subject))

    def _is_named(self, name: str) -> bool:
        """Return whether the file of operators has a name."""
        return self._operators is not None and name in self._operators.value


def _confirm_token(keys: WatchedFile[TokenKey], key: TokenKey, ends: float) -> None:
    if time.time() >= ends:
        raise ExpiredCredentialsError
    if keys.value != key:
        raise WrongCredentialsError


def _token_key(
    credentials: Credentials, clock: Callable[[], float]
) -> WatchedFile[TokenKey] | None:
    if path := credentials.token_key:
        from sessiongate.runtime.auth.tokens import read_token_key

        return WatchedFile([path], partial(read_token_key, path), clock=clock)
    if path := credentials.token_secret:
        from sessiongate.runtime.auth.tokens import read_token_secret

        return WatchedFile([path], partial(read_token_secret, path), clock=clock)
    return None


def _challenges(credentials: Credentials) -> tuple[str, ...]:
    found = []
    if credentials.users:
        found.append('Basic realm="sessiongate", charset="UTF-8"')
    if credentials.has_tokens or credentials.core_token:
        found.append('Bearer realm="sessiongate"')
    return tuple(found)
