"""Whether the variables of OpenTelemetry ask for spans. If not, nothing of it is imported."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sessiongate.runtime.telemetry.sdk_texts import loggable

if TYPE_CHECKING:
    from sessiongate.runtime.telemetry.spans import Spans

log = logging.getLogger(__name__)

_EXPORTER = "OTEL_TRACES_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_KNOWN = ("http/protobuf", "grpc")


def open_spans(program: str, variables: Mapping[str, str] = os.environ) -> Spans | None:
    """Return what records the spans of a program; None if they are not asked for, or cannot be.

    A program goes on without spans; the log says why there are none although they are asked for.
    """
    wanted = variables.get(_EXPORTER, "").strip().lower()
    is_off = variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or wanted == "none"
    if is_off or not (wanted or any(map(variables.get, _ENDPOINTS))):
        return None
    protocol = next(filter(None, map(variables.get, _PROTOCOLS)), _KNOWN[0])
    if wanted not in ("", "otlp"):
        why = f"{_EXPORTER} must be otlp or none, got {wanted!r}"
    elif protocol not in _KNOWN:
        why = f"{_PROTOCOLS[1]} must be {' or '.join(_KNOWN)}, got {protocol!r}"
    else:
        try:
            from sessiongate.runtime.telemetry.spans import Spans

            return Spans(program, protocol)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            why = f"{missing} is not installed: pip install 'sessiongate[otel]'"
        except Exception as error:  # each part of the SDK has exceptions of its own
            why = "check the variables of OpenTelemetry (OTEL_*), and its packages: "
            why += loggable(f"{type(error).__name__}: {error}", variables)
    log.warning("no spans are recorded: %s", why)
    return None
