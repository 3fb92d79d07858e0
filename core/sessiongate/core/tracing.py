"""Spans of calls, observations and the ledger's writes, if OpenTelemetry's variables ask for them.

They are put around what is there when a core starts, so that a core without them has nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sessiongate.core.collect.runner import Runner
from sessiongate.core.grpc.call_log import cancelled_code, code_of
from sessiongate.core.grpc.interceptor import MethodHandler, behaving, behaviour_of, is_awaited
from sessiongate.core.ledger.base import Ledger
from sessiongate.core.ledger.coverage import Interval
from sessiongate.runtime.telemetry.correlation import Correlation, current, new_request_id
from sessiongate.runtime.telemetry.spans import Spans, below, mark_failed

_HEALTH = "grpc.health.v1."
# Statuses that OpenTelemetry counts as failures of the server: the others are the caller's.
_FAILURES = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)


class CallSpans:
    """Records calls, except streams and health checks; must be inside `CallLog`."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def before(self, method: str, handler: MethodHandler) -> MethodHandler:
        """Return the handler with a span around each call."""
        if handler.response_streaming or not is_awaited(handler) or method.startswith(_HEALTH):
            return handler
        inner, spans = behaviour_of(handler), self._spans
        attributes = {"rpc.system.name": "grpc", "rpc.method": method}

        async def recorded(request: Any, context: Any) -> Any:
            asked = current.get() or Correlation(new_request_id())
            span = spans.answering(method, asked, attributes)
            current.set(below(span, asked))
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
                span.set_attribute("rpc.response.status_code", code)
                if code in _FAILURES:
                    mark_failed(span, code)
                span.end()

        return behaving(handler, recorded)


def trace_observations(runner: Runner, kind: str, spans: Spans) -> None:
    """Record each observation of a source."""
    observe = runner.observe
    attributes = {"sessiongate.source": runner.name, "sessiongate.source.kind": kind}

    async def recorded(requested: float) -> tuple[float, float]:
        with spans.within("observe", attributes) as span:
            found = await observe(requested)
            span.set_attribute("sessiongate.sessions", runner.report().session_count)
            return found

    runner.observe = recorded  # type: ignore[method-assign]


def trace_writes(ledger: Ledger, kind: str, spans: Spans) -> None:
    """Record each write of a ledger; ``kind`` is OpenTelemetry's name of its database."""
    record, note = ledger.record, ledger.note

    async def recorded(source: str, *, opened: Any, closed: Any, **more: Any) -> list[int]:
        attributes = {
            **_writing("record", kind),
            "sessiongate.source": source,
            "sessiongate.sessions.opened": len(opened),
            "sessiongate.sessions.closed": len(closed),
        }
        with spans.within("ledger record", attributes):
            return await record(source, opened=opened, closed=closed, **more)

    async def noted(intervals: Sequence[Interval]) -> None:
        with spans.within("ledger note", _writing("note", kind)):
            await note(intervals)

    ledger.record, ledger.note = recorded, noted  # type: ignore[method-assign]


def _writing(operation: str, kind: str) -> dict[str, str | int]:
    return {"db.system.name": kind, "db.operation.name": operation}
