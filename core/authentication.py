"""Letting only those call who show who they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from inspect import isasyncgenfunction
from typing import Any, TypeAlias
from urllib.parse import unquote

import grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE

from core.errors import abort
from runtime.authenticator import Authenticator
from runtime.identity import CALLER_METADATA, Identity, Proof, Refusal, caller

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic only to type checkers

# How a handler is made, by whether requests and responses are streams.
_KINDS = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class Authentication(grpc.aio.ServerInterceptor):
    """Asks every call but those of health for credentials.

    While a method runs, ``runtime.identity.caller`` is who calls: for a gateway that
    names its own caller in the metadata, that one. Nobody else is believed there.
    """

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        # By method: the handler, and the one that stands before it.
        self._guards: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(details)
        # None is a method that does not exist: all may know that.
        if handler is None or details.method.startswith(f"/{HEALTH_SERVICE}/"):
            return handler
        known = self._guards.get(details.method)
        if known is None or known[0] is not handler:
            known = self._guards[details.method] = handler, self._guarded(handler)
        return known[1]

    def _guarded(self, handler: Handler) -> Handler:
        name, make = _KINDS[handler.request_streaming, handler.response_streaming]
        method = getattr(handler, name)

        async def answer(request: Any, context: Context) -> Any:
            await self._admit(context)
            return await method(request, context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            await self._admit(context)
            async with aclosing(method(request, context)) as responses:
                async for response in responses:
                    yield response

        return make(
            stream if isasyncgenfunction(method) else answer,
            handler.request_deserializer,
            handler.response_serializer,
        )

    async def _admit(self, context: Context) -> None:
        """End the call unless it may go on."""
        metadata = [(key, value) for key, value in context.invocation_metadata() or ()]
        try:
            identity = await self._authenticator.authenticate(
                _authorization(metadata), _certificate(context), _address(context.peer())
            )
        except Refusal as refusal:
            await abort(context, refusal)
        caller.set(_caller(metadata) or identity if identity.proof is Proof.GATEWAY else identity)


def _authorization(metadata: Sequence[tuple[str, Any]]) -> str | None:
    values = [value for key, value in metadata if key == "authorization"]
    return ", ".join(values) if values else None


def _caller(metadata: Sequence[tuple[str, Any]]) -> Identity | None:
    """Whom a gateway names as its caller, if anyone."""
    for key, value in metadata:
        if key == CALLER_METADATA:
            with suppress(ValueError):
                return Identity.decode(value)
    return None


def _certificate(context: Context) -> str | None:
    """The name in the client's certificate: its common name, or its first alternative one."""
    shown = context.auth_context()
    for key in ("x509_common_name", "x509_subject_alternative_name"):
        for value in shown.get(key, ()):
            if name := value.decode(errors="replace"):
                return name
    return None


def _address(peer: str) -> str:
    """The IP address in what gRPC calls a peer: ``ipv4:192.0.2.1:4711``, ``unix:``."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind
    return unquote(rest).rpartition(":")[0].strip("[]")
