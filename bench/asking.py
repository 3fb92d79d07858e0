"""An HTTP request and its whole response, for checks, not for measurements."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

# Headers of the server itself and of one connection, which are not compared.
_OF_THE_SERVER = ("server", "date", "content-length", "transfer-encoding", "connection")


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's response; header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    # Whether it was sent before its length was known.
    is_chunked: bool = field(compare=False, default=False)

    def header(self, name: str) -> str | None:
        """Return a header's value, or None if it is missing."""
        return dict(self.headers).get(name)

    @property
    def json(self) -> Any:
        """The JSON value of the body."""
        return json.loads(self.body)


def ask(address: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Send a request to ``HOST:PORT``. Raises `OSError` if there is no response."""
    connection = HTTPConnection(address, timeout=60)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        kept = tuple(
            (name.lower(), value)
            for name, value in response.getheaders()
            if name.lower() not in _OF_THE_SERVER
        )
        return Answer(response.status, kept, response.read(), response.chunked)
    finally:
        connection.close()
