"""Refuses every call to a core that stands by, and names the active core."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from sessiongate.core.errors import CoreError
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.core.grpc.status import abort


def add_refusals(
    services: Iterable[str], server: grpc.aio.Server, refusal: Callable[[], CoreError]
) -> None:
    """Answer every method of services, by their full names, with an error."""

    async def refuse(request: object, context: CallContext) -> NoReturn:
        await abort(context, refusal())

    for name in services:
        service: Any = descriptor_pool.Default().FindServiceByName(name)
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for method in service.methods:
            kind = (
                grpc.unary_stream_rpc_method_handler
                if method.server_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            request = GetMessageClass(method.input_type)
            handlers[method.name] = kind(refuse, request_deserializer=request.FromString)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        server.add_registered_method_handlers(name, handlers)
