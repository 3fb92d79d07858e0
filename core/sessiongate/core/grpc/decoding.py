"""Decoding of requests: what is no message of its method is refused as the contract says.

gRPC itself answers with the name of a Python class, and logs a trace for everyone who
sends nonsense.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any

from google.protobuf.message import DecodeError

from sessiongate.core.errors import InvalidRequestError, MalformedRequestError, Violation
from sessiongate.core.grpc.interceptor import (
    CallContext,
    Interceptor,
    MethodHandler,
    behaving_on_bytes,
    behaviour_of,
)
from sessiongate.core.grpc.status import abort

# No method needs more, and many may wait at once; a larger request, up to max_message, is
# read only to be answered.
MAX_REQUEST_BYTES = 64 * 1024


class Decoding(Interceptor):
    """Decodes requests; must be a server's last interceptor: who may not call is not read."""

    def before(self, method: str, handler: MethodHandler) -> MethodHandler:
        decode: Callable[[bytes], Any] | None = handler.request_deserializer
        behaviour = behaviour_of(handler)
        if decode is None:
            return handler

        async def message(request: bytes, context: CallContext) -> Any:
            if len(request) > MAX_REQUEST_BYTES:
                text = f"is {len(request)} bytes long; allowed are {MAX_REQUEST_BYTES}"
                await abort(context, InvalidRequestError(Violation("request", text)))
            try:
                return decode(request)
            except DecodeError:
                await abort(context, MalformedRequestError(f"this is no request of {method}"))

        async def messages(
            requests: AsyncIterator[bytes], context: CallContext
        ) -> AsyncIterator[Any]:
            async for request in requests:
                yield await message(request, context)

        async def decoded(request: bytes, context: CallContext) -> Any:
            return await behaviour(await message(request, context), context)

        async def stream(
            requests: AsyncIterator[bytes], context: CallContext
        ) -> AsyncIterator[Any]:
            async with aclosing(behaviour(messages(requests, context), context)) as responses:
                async for response in responses:
                    yield response

        if handler.request_streaming and isasyncgenfunction(behaviour):
            return behaving_on_bytes(handler, stream)
        if not handler.request_streaming and iscoroutinefunction(behaviour):
            return behaving_on_bytes(handler, decoded)
        return handler
