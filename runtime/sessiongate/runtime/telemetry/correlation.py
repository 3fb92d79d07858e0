"""Correlation of everything that one request causes: its id, and its trace.

HTTP headers and gRPC metadata keys have the same names: a gateway takes them from its
caller and passes them to the core. A trace is passed on unchanged (W3C Trace Context), unless
spans are recorded (`runtime.telemetry.spans`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextvars import ContextVar
from itertools import count
from typing import NamedTuple

REQUEST_ID = "x-request-id"
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_TOKEN = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_TRACESTATE = re.compile(r"[ -~]{1,512}")
_PROCESS = os.urandom(8).hex()  # differs from process to process
_NUMBERS = count()
_KEYS = frozenset((REQUEST_ID, TRACEPARENT, TRACESTATE))
CORRELATION_HEADERS = frozenset(name.encode() for name in _KEYS)  # that a correlation is read from


class Correlation(NamedTuple):
    """A request's id and its trace; every part is safe to log and to send on."""

    request_id: str
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def trace_id(self) -> str | None:
        """The trace's id alone: 32 hexadecimal digits."""
        return self.traceparent.split("-")[1] if self.traceparent else None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what to send along with a gRPC call."""
        pairs = [(REQUEST_ID, self.request_id)]
        if self.traceparent:
            pairs.append((TRACEPARENT, self.traceparent))
        if self.tracestate:
            pairs.append((TRACESTATE, self.tracestate))
        return tuple(pairs)


# The correlation of the current request, if any.
current: ContextVar[Correlation | None] = ContextVar("correlation", default=None)


def from_headers(headers: Iterable[tuple[bytes, bytes]]) -> Correlation:
    """Read the correlation from lower-case headers; make a new one if there is none.

    A header that is malformed or repeated is ignored.
    """
    given: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in CORRELATION_HEADERS:
            given[name] = b"" if name in given else value
    if not given:
        return Correlation(new_request_id())
    return from_pairs((name.decode(), value.decode("latin-1")) for name, value in given.items())


def from_pairs(pairs: Iterable[tuple[str, str | bytes]]) -> Correlation:
    """Do the same as `from_headers`, for a gRPC call's metadata."""
    given = {name: value for name, value in pairs if name in _KEYS and isinstance(value, str)}
    if not given:
        return Correlation(new_request_id())
    request_id = given.get(REQUEST_ID, "")
    traceparent = parse_traceparent(given.get(TRACEPARENT, ""))
    tracestate = given.get(TRACESTATE, "") if traceparent else ""
    return Correlation(
        request_id if _TOKEN.fullmatch(request_id) else new_request_id(),
        traceparent,
        tracestate if _TRACESTATE.fullmatch(tracestate) else None,
    )


def new_request_id() -> str:
    """Return an id that is unique across processes: hexadecimal digits."""
    return f"{_PROCESS}{next(_NUMBERS):08x}"


def parse_traceparent(text: str) -> str | None:
    """Return a ``traceparent`` in the form of version 00; None if it is not valid.

    Of a later version, keep the fields of 00, as the standard requires.
    """
    found = _TRACEPARENT.fullmatch(text)
    if found is None or found["version"] == "ff":
        return None
    if found["version"] == "00" and found["rest"]:
        return None
    if not int(found["trace"], 16) or not int(found["parent"], 16):
        return None
    return f"00-{found['trace']}-{found['parent']}-{found['flags']}"
