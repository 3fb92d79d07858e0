"""Reading requests: what is no message of its method is refused as the contract has it.

gRPC itself answers with the name of a class of Python's, and logs a trace for everyone
who sends nonsense.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from google.protobuf.message import DecodeError

from core.errors import MalformedRequestError, abort
from core.interception import Context, Handler, Interceptor, behaving_on_bytes, behaviour_of


class Decoding(Interceptor):
    """To be the last of a server's interceptors: who may not call is not read."""

    def before(self, method: str, handler: Handler) -> Handler:
        decode: Callable[[bytes], Any] | None = handler.request_deserializer
        behaviour = behaviour_of(handler)
        if handler.request_streaming or decode is None or not iscoroutinefunction(behaviour):
            return handler

        async def decoded(request: bytes, context: Context) -> Any:
            try:
                message = decode(request)
            except DecodeError:
                await abort(context, MalformedRequestError(f"this is no request of {method}"))
            return await behaviour(message, context)

        return behaving_on_bytes(handler, decoded)
