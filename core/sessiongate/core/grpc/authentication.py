"""Authentication of gRPC calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from inspect import isasyncgenfunction
from typing import Any
from urllib.parse import unquote

from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE

from sessiongate.core.grpc.interceptor import (
    CallContext,
    CallMetadata,
    MethodHandler,
    behaving,
    behaviour_of,
    is_awaited,
    metadata_of_call,
)
from sessiongate.core.grpc.status import abort
from sessiongate.runtime.auth.authenticator import Authenticator
from sessiongate.runtime.auth.identity import (
    ADDRESS_METADATA,
    CALLER_METADATA,
    OPERATOR,
    ROLE_METADATA,
    Identity,
    Proof,
    Refusal,
    caller,
    caller_address,
)

_LONGEST_ADDRESS = 64  # characters
CONFIRM = 1.0  # seconds between two checks of the credentials of a stream's caller


class AuthenticationInterceptor:
    """Requires credentials for every call, except those of the health service.

    While a method runs, ``runtime.auth.identity.caller`` is the caller: if a gateway names
    its own caller in the metadata, that one. The name is ignored from anybody else.
    A stream ends when its caller's credentials are no longer valid.
    """

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def before(self, method: str, handler: MethodHandler) -> MethodHandler:
        if method.startswith(f"{HEALTH_SERVICE}/"):
            return handler
        behaviour = behaviour_of(handler)

        def answer(request: Any, context: CallContext) -> Awaitable[Any]:
            metadata = _take_metadata(context)
            if self._known(metadata):
                return behaviour(request, context)  # type: ignore[no-any-return]
            return admit_first(request, context, metadata)

        async def admit_first(request: Any, context: CallContext, metadata: CallMetadata) -> Any:
            await self._admit(context, metadata)
            return await behaviour(request, context)

        async def collect(requests: Any, context: CallContext) -> Any:
            await self._identified(context)
            return await behaviour(requests, context)

        async def send(request: Any, context: CallContext) -> None:
            identity = await self._identified(context)
            try:
                async with _while_valid(identity):
                    await behaviour(request, context)
            except Refusal as refusal:
                await abort(context, refusal)

        async def stream(request: Any, context: CallContext) -> AsyncIterator[Any]:
            identity = await self._identified(context)
            async with aclosing(behaviour(request, context)) as responses:
                async for response in responses:
                    try:
                        identity.confirm()
                    except Refusal as refusal:
                        await abort(context, refusal)
                    yield response

        if isasyncgenfunction(behaviour):
            return behaving(handler, stream)
        if handler.response_streaming:
            return behaving(handler, send)
        return behaving(handler, answer if is_awaited(handler) else collect)

    async def _identified(self, context: CallContext) -> Identity:
        """Return the caller; end the call if it is refused."""
        metadata = _take_metadata(context)
        return self._known(metadata) or await self._admit(context, metadata)

    def _known(self, metadata: CallMetadata) -> Identity | None:
        """Return the caller if it was admitted a moment ago and still would be."""
        identity = self._authenticator.known(_authorization(metadata))
        if identity is not None:  # never a gateway, which would name its own caller
            caller.set(identity)
        return identity

    async def _admit(self, context: CallContext, metadata: CallMetadata) -> Identity:
        """Do the same as `_identified` for a caller that was not admitted a moment ago."""
        authorization = _authorization(metadata)
        certificate = _certificate(context) if authorization is None else None
        try:
            identity = await self._authenticator.authenticate(
                authorization, certificate, peer_address(context)
            )
        except Refusal as refusal:
            await abort(context, refusal)
        if identity.proof is Proof.GATEWAY:
            caller.set(_named(identity, metadata))
            caller_address.set(_stated_address(metadata))
        else:
            caller.set(identity)
        return identity


@asynccontextmanager
async def _while_valid(identity: Identity) -> AsyncIterator[None]:
    """Cancel the body, and raise the `Refusal`, once the caller is refused."""
    refusals: list[Refusal] = []
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        timer = loop.call_later(CONFIRM, look)
        try:
            identity.confirm()
        except Refusal as refusal:
            timer.cancel()
            refusals.append(refusal)
            alarm.reschedule(loop.time())

    timer = loop.call_later(CONFIRM, look)
    try:
        async with asyncio.timeout(None) as alarm:
            yield
    except TimeoutError:
        if not alarm.expired():
            raise
        raise refusals[0] from None
    finally:
        timer.cancel()


def _take_metadata(context: CallContext) -> CallMetadata:
    """Return the metadata of the current call, which has credentials, and let go of it.

    Tasks and timers that the method starts keep its context variables, some for long.
    """
    metadata = metadata_of_call.get() or context.invocation_metadata() or ()
    metadata_of_call.set(None)
    return metadata


def _authorization(metadata: Iterable[tuple[str, Any]]) -> str | None:
    found = None
    for key, value in metadata:
        if key == "authorization":
            found = value if found is None else f"{found}, {value}"
    return found


def _named(gateway: Identity, metadata: Iterable[tuple[str, Any]]) -> Identity:
    """Return the caller that a gateway names, with the role that it gives; or else the gateway."""
    found, roles = gateway, [value for key, value in metadata if key == ROLE_METADATA]
    for key, value in metadata:
        if key == CALLER_METADATA:
            with suppress(ValueError):
                found = Identity.decode(value)
                break
    return replace(found, is_operator=roles == [OPERATOR])


def _stated_address(metadata: Iterable[tuple[str, Any]]) -> str:
    """Return the address that a gateway states of its caller; empty if it states none."""
    for key, value in metadata:
        if key == ADDRESS_METADATA and len(value) <= _LONGEST_ADDRESS and value.isprintable():
            return str(value)
    return ""


def peer_address(context: CallContext) -> str:
    """Return the IP address that a call comes from, or the kind of its socket."""
    return _address(context.peer())


def _certificate(context: CallContext) -> str | None:
    """Return the name in the client's certificate: its common or first alternative name."""
    shown = context.auth_context()
    for key in ("x509_common_name", "x509_subject_alternative_name"):
        for value in shown.get(key, ()):
            if name := value.decode(errors="replace"):
                return name
    return None


@lru_cache  # of many calls of a connection
def _address(peer: str) -> str:
    """Return the IP address in gRPC's name of a peer: ``ipv4:192.0.2.1:4711``, ``unix:``."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind
    return unquote(rest).rpartition(":")[0].strip("[]")
