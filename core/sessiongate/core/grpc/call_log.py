"""Logging and counting of the core's calls, with the id of the request that caused each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc

from sessiongate.core.grpc.call_counts import CallCounts
from sessiongate.core.grpc.interceptor import (
    MethodHandler,
    behaving,
    behaviour_of,
    is_awaited,
    metadata_of_call,
)
from sessiongate.runtime.auth.identity import Identity, caller
from sessiongate.runtime.telemetry.correlation import Correlation, current, from_pairs
from sessiongate.runtime.telemetry.logs import LogLine, LogLines

log = logging.getLogger("core.access")

Behaviour: TypeAlias = Callable[[Any, Any], Awaitable[Any]]


# Seconds until a call's line is written, with those of other calls: alone, and in the midst of
# other work, each takes several times as long.
_DELAY = 0.05


# What is known when a call ends: when, the method, the status, the seconds that it took, its peer,
# its caller and its request.
_Ended: TypeAlias = tuple[float, str, str, float, str, Identity | None, Correlation | None]


class CallLog:
    """Logs and counts calls; must be outside those that refuse calls."""

    def __init__(self, counts: CallCounts, *, access_log: bool) -> None:
        self._counts = counts
        self._access_log = access_log
        self._ended: list[_Ended] = []  # and not logged yet
        self._is_closed = False

    def before(self, method: str, handler: MethodHandler) -> MethodHandler:
        if not is_awaited(handler):
            return handler
        seen = self._wrapped(method, behaviour_of(handler), streams=handler.response_streaming)
        return behaving(handler, seen)

    def close(self) -> None:
        """Write what is left, and the lines of calls that are yet to end as they do."""
        self._is_closed = True
        self._flush()

    def _flush(self) -> None:
        """Write the lines of all calls that have ended."""
        ended, self._ended = self._ended, []
        if ended and log.isEnabledFor(logging.INFO):
            log.handle(LogLines(log.name, logging.INFO, [_line(*each) for each in ended]))

    def _wrapped(self, method: str, inner: Behaviour, *, streams: bool) -> Behaviour:
        async def observed(request: Any, context: Any) -> Any:
            metadata = context.invocation_metadata() or ()
            metadata_of_call.set(metadata)
            current.set(from_pairs(metadata))
            began = time.perf_counter()
            code = "UNKNOWN"
            try:
                response = await inner(request, context)
                code = code_of(context)
                return response
            except asyncio.CancelledError:
                code = cancelled_code(context)
                raise
            except Exception:
                code = code_of(context, "UNKNOWN")
                raise
            finally:
                took = time.perf_counter() - began
                if streams:
                    self._counts.ended(method, code)
                else:
                    self._counts.answered(method, code, took)
                if self._access_log:
                    self._note(method, code, took, context)

        return observed

    def _note(self, method: str, code: str, took: float, context: Any) -> None:
        if not self._ended and not self._is_closed:
            asyncio.get_running_loop().call_later(_DELAY, self._flush)
        self._ended.append(
            (time.time(), method, code, took, context.peer(), caller.get(), current.get())
        )
        if self._is_closed:
            self._flush()


def _line(
    ended: float,
    method: str,
    code: str,
    took: float,
    peer: str,
    identity: Identity | None,
    correlation: Correlation | None,
) -> LogLine:
    """Return the line of a call."""
    members = {
        "method": method,
        "code": code,
        "seconds": round(took, 6),
        "peer": peer,
        "user": identity.name if identity else "",
    }
    return LogLine(ended, f"{method} {code}", correlation, members)


def cancelled_code(context: Any) -> str:
    """Return the status of a call that is being cancelled."""
    left = context.time_remaining()
    return "DEADLINE_EXCEEDED" if left is not None and left <= 0 else "CANCELLED"


def code_of(context: Any, default: str = "OK") -> str:
    """Return the status of a call; ``default`` if it is still the initial one, OK."""
    code = context.code()
    return str(code.name) if isinstance(code, grpc.StatusCode) and code.value[0] else default
