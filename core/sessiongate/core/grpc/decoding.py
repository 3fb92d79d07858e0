"""Decoding of requests: one that is not a message of its method's type gets a contract error.

gRPC itself would return the name of a Python class, and log a trace for every malformed
request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from inspect import isasyncgenfunction
from typing import Any

from google.protobuf.message import DecodeError

from sessiongate.core.errors import CoreError, InvalidRequestError, MalformedRequestError, Violation
from sessiongate.core.grpc.interceptor import (
    CallContext,
    MethodHandler,
    behaving_on_bytes,
    behaviour_of,
    is_awaited,
)
from sessiongate.core.grpc.status import abort

# No method needs more, and many requests may wait at once; a larger one, up to max_message,
# is read only to return an error.
MAX_REQUEST_BYTES = 64 * 1024


class Decoding:
    """Decodes requests; must be the last interceptor: refused callers' requests are not read."""

    def before(self, method: str, handler: MethodHandler) -> MethodHandler:
        decode: Callable[[bytes], Any] | None = handler.request_deserializer
        behaviour = behaviour_of(handler)
        if decode is None:
            return handler

        def message(request: bytes) -> Any:
            if len(request) > MAX_REQUEST_BYTES:
                text = f"must have at most {MAX_REQUEST_BYTES} bytes, got {len(request)}"
                raise InvalidRequestError(Violation("request", text))
            try:
                return decode(request)
            except DecodeError:
                raise MalformedRequestError(f"not a request of {method}") from None

        async def messages(
            requests: AsyncIterator[bytes], context: CallContext
        ) -> AsyncIterator[Any]:
            async for request in requests:
                try:
                    yield message(request)
                except CoreError as error:
                    await abort(context, error)

        def decoded(request: bytes, context: CallContext) -> Awaitable[Any]:
            try:
                found = message(request)
            except CoreError as error:
                return abort(context, error)
            return behaviour(found, context)  # type: ignore[no-any-return]

        async def stream(
            requests: AsyncIterator[bytes], context: CallContext
        ) -> AsyncIterator[Any]:
            async with aclosing(behaviour(messages(requests, context), context)) as responses:
                async for response in responses:
                    yield response

        if handler.request_streaming and isasyncgenfunction(behaviour):
            return behaving_on_bytes(handler, stream)
        if is_awaited(handler):
            return behaving_on_bytes(handler, decoded)
        return handler
