"""Records spans by OpenTelemetry's SDK. `open_spans` imports it, if they are asked for.

The SDK reads its variables itself: endpoints, headers, sampling, batches, limits. No span has
what callers or databases send: no statement, user, address, path or text of an error.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
    use_span,
)

from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.rate_limited_log import LOG_INTERVAL
from sessiongate.runtime.telemetry.correlation import Correlation
from sessiongate.runtime.telemetry.sdk_texts import loggable

log = logging.getLogger(__name__)

_CLOSING = 1.0  # seconds for the last spans to be sent

Attributes = Mapping[str, str | int]


class Spans:
    """Records the spans of one process, until `close`."""

    def __init__(self, program: str, protocol: str) -> None:
        """Send spans by OTLP's ``protocol``. Raises what the SDK raises for a wrong variable."""
        of_sdk = logging.getLogger("opentelemetry")
        of_sdk.handlers, of_sdk.propagate = [_Complaints()], False
        ours = {"service.name": f"sessiongate-{program}", "service.version": version("sessiongate")}
        stated = OTELResourceDetector().detect().attributes
        resource = Resource.create({key: ours[key] for key in ours.keys() - stated.keys()})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(protocol)))
        self._tracer = self._provider.get_tracer("sessiongate", version("sessiongate"))

    def answering(self, name: str, asked: Correlation, attributes: Attributes) -> Span:
        """Begin the span of answering a request; a span that it states is the parent."""
        return self._tracer.start_span(
            name, _context(asked), SpanKind.SERVER, attributes, record_exception=False
        )

    @contextmanager
    def within(self, name: str, attributes: Attributes) -> Iterator[Span]:
        """Record what the body does; spans that begin meanwhile in this task are below it."""
        span = self._tracer.start_span(name, attributes=attributes)
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield span
        except Exception as error:
            mark_failed(span, type(error).__name__)
            raise
        finally:
            span.end()

    def close(self) -> None:
        """Send what is left, but do not wait long for a receiver that hangs."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSING)


def mark_failed(span: Span, kind: str) -> None:
    """Note that what a span is of failed; never by the text of the error."""
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def below(span: Span, asked: Correlation) -> Correlation:
    """Return the correlation of what a span causes."""
    its = span.get_span_context()
    traceparent = f"00-{its.trace_id:032x}-{its.span_id:016x}-{its.trace_flags:02x}"
    return asked._replace(traceparent=traceparent)


def _context(asked: Correlation) -> Context:
    """Return the context that a request states; an empty one if it states none."""
    if asked.traceparent is None:
        return Context()
    _, trace, parent, flags = asked.traceparent.split("-")
    its = SpanContext(
        *(int(trace, 16), int(parent, 16)),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header([asked.tracestate or ""]),
    )
    return set_span_in_context(NonRecordingSpan(its), Context())


def _exporter(protocol: str) -> SpanExporter:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter as OverGrpc,
        )

        return OverGrpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

    return OverHttp()


class _Complaints(logging.Handler):
    """Logs what the SDK complains of: of one kind, a line a minute, without a trace."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logged: dict[str, float] = {}  # when a kind was last logged, on `elapsed`

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "opentelemetry.trace.span":
            return  # about the `tracestate` of a caller, which it repeats
        now = elapsed()
        if now - self._logged.get(record.msg, -LOG_INTERVAL) >= LOG_INTERVAL:
            self._logged[record.msg] = now
            text = record.getMessage()
            if record.name == "opentelemetry.util.re":  # repeats headers, which may hold a password
                text = "the headers of OTEL_EXPORTER_OTLP_HEADERS are malformed"
            elif record.exc_info and record.exc_info[1]:
                text = f"{text} {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            log.warning("OpenTelemetry: %s", loggable(text))
