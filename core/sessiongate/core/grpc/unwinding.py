"""Lets go of what a failed call holds, once it has ended."""

from __future__ import annotations

from typing import Any

import grpc

from sessiongate.core.grpc.interceptor import MethodHandler, behaving, behaviour_of, is_awaited


class Unwinding:
    """Frees requests of aborted calls at once; must be the first interceptor, around all others.

    The context of a call refers to the error that aborted it, and the error to the frames that
    it has passed through, which refer to the request and the context. Such a cycle is freed by
    a search for garbage only, and one that has been searched before may wait for minutes.
    """

    def before(self, _method: str, handler: MethodHandler) -> MethodHandler:
        if not is_awaited(handler):
            return handler
        behaviour = behaviour_of(handler)

        async def unwound(request: Any, context: Any) -> Any:
            try:
                return await behaviour(request, context)
            except grpc.aio.AbortError as error:
                error.__traceback__ = error.__context__ = None
                raise
            finally:
                del request, context

        return behaving(handler, unwound)
