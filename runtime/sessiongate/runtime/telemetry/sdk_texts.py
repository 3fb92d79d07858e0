"""Makes fit for the log what OpenTelemetry's SDK says: short, and without passwords."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

_ENDPOINTS = re.compile(r"OTEL_EXPORTER_OTLP_(TRACES_)?ENDPOINT")
_HEADERS = re.compile(r"OTEL_EXPORTER_OTLP_(TRACES_)?HEADERS")
# The parts of an address that may hold a password: what is before the host, and the query.
_SECRET_PARTS = re.compile(r"(?:^|//)([^/?#]*)@|\?(.*)")
_WORD = re.compile(r"[^\s,;:=&'\"\\]{3,}")
_LONGEST = 500  # characters


def loggable(text: str, variables: Mapping[str, str] = os.environ) -> str:
    """Return a text without what the variables for endpoints and headers keep secret."""
    for secret in sorted({*_secrets(variables)}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _secrets(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield each word that may be a password: as it is written, and as it is decoded."""
    for name, value in variables.items():
        if _HEADERS.fullmatch(name):
            parts = [value]
        elif _ENDPOINTS.fullmatch(name):
            parts = [login or query for login, query in _SECRET_PARTS.findall(value)]
        else:
            continue
        for part in parts:
            yield from _WORD.findall(part)
            yield from _WORD.findall(unquote(part))
