"""Admits only requests with valid credentials."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from sessiongate.gateway.errors import refused
from sessiongate.gateway.http.cross_origin import is_preflight
from sessiongate.gateway.jsonapi.errors import Error, errors_response
from sessiongate.runtime.auth.authenticator import Authenticator
from sessiongate.runtime.auth.identity import Proof, Refusal, TooManyAttemptsError, caller

# Health checks need no credentials.
OPEN = frozenset({"/healthz", "/readyz"})

# The name of every certificate: the server requires one, but does not report whose it is.
CERTIFIED = "certificate"


class AuthenticationMiddleware:
    """Middleware that requires credentials of every request, except health checks and preflights.

    It must run after `NormalizePath`. While a request is handled,
    ``runtime.auth.identity.caller`` is the identity of its caller. With ``certified``, the
    client's certificate, which the server has verified, is enough.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, *, certified: bool) -> None:
        self._app = app
        self._authenticator = authenticator
        self._certificate = CERTIFIED if certified else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN or is_preflight(scope):
            await self._app(scope, receive, send)
            return
        authorization = _authorization(scope["headers"])
        authenticator = self._authenticator
        try:
            identity = authenticator.known(authorization) or await authenticator.authenticate(
                authorization, self._certificate, _address(scope)
            )
        except Refusal as refusal:
            await self._refuse(refusal, scope, receive, send)
            return
        if identity.proof is Proof.CERTIFICATE:  # whose it is, is not known here
            identity = replace(identity, is_operator=False)
        scope["user"] = identity.name  # the key that ASGI defines
        before = caller.set(identity)
        try:
            await self._app(scope, receive, send)
        finally:
            caller.reset(before)

    def mark(self, scope: Scope) -> bytes | None:
        """Return the mark of a request's credentials, which does not reveal them; None without."""
        authorization = _authorization(scope["headers"])
        return None if authorization is None else self._authenticator.mark(authorization)

    def recognizes(self, mark: bytes, scope: Scope) -> bool:
        """Return whether credentials were accepted a moment ago; if so, name the caller."""
        identity = self._authenticator.marked(mark)
        if identity is None:
            return False
        scope["user"] = identity.name
        return True

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        """Send 401 with a challenge for each scheme, or 429."""
        if isinstance(refusal, TooManyAttemptsError):
            error = Error(429, refusal.reason, str(refusal))
            answer = errors_response([error], {"Retry-After": str(refusal.retry_after)})
        else:
            answer = errors_response([refused(refusal)])
            for challenge in self._authenticator.challenges:
                answer.headers.append("WWW-Authenticate", challenge)
        await answer(scope, receive, send)


def _authorization(headers: list[tuple[bytes, bytes]]) -> str | None:
    values = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    return ", ".join(values) if values else None


def _address(scope: Scope) -> str:
    client: Any = scope["client"]
    return str(client[0]) if client else "unknown"
