"""A connection to a gateway for any request; and what the answers must be."""

from __future__ import annotations

import gzip
import json
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from pathlib import Path

from tests.closing import Closing
from tests.faults.requests import Request
from tests.gateway.jsonapi_rules import check_document
from tests.program import PATIENCE

_TEXT = (Path(__file__).parents[2] / "docs" / "rest.md").read_text(encoding="utf-8")
# The documented statuses and codes of errors, including 500 for bugs.
DOCUMENTED = {
    (status, code)
    for status, codes in re.findall(r"^\| (\d{3}) \| (.*?) \|", _TEXT, re.MULTILINE)
    for code in re.findall(r"`(\w+)`", codes)
    if status != "500"
}
_JSON_API = "application/vnd.api+json"


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer, except for a stream of events, which has no end."""

    method: str
    status: int
    headers: dict[str, str]
    body: bytes

    def check(self) -> None:
        """Fail unless the answer is documented."""
        if self.headers.get("server") != "sessiongate":
            # The server's own answer to what is not HTTP: it says nothing more.
            assert self.status in (400, 408, 413, 414, 431), self
            assert not self.body, self
            return
        assert self.status in (200, 202, 204, 304) or str(self.status) in dict(DOCUMENTED), self
        assert self.headers["x-content-type-options"] == "nosniff"
        assert self.headers["x-request-id"]
        if self.status >= 400:
            assert self.headers["content-type"] == _JSON_API, self
        if self.method == "HEAD" or self.status == 304:
            assert not self.body, self
        elif self.headers.get("content-type", "").startswith("application/"):
            self._check_document()

    def _check_document(self) -> None:
        zipped = self.headers.get("content-encoding") == "gzip"
        document = json.loads(gzip.decompress(self.body) if zipped else self.body)
        if self.status == 200 and "openapi" in document:
            return
        check_document(document)
        assert (self.status >= 400) == ("errors" in document), self
        for error in document.get("errors", ()):
            assert error["status"] == str(self.status), self
            assert (error["status"], error["code"]) in DOCUMENTED, self


class Exchange(Closing):
    """Asks on one connection as long as it is kept, then on a new one."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._place = host, int(port)
        self._socket: socket.socket | None = None

    def ask(self, request: Request) -> Reply:
        """Return the answer to a request. Fail if there is none, or it does not end."""
        if self._socket is not None:
            try:
                return self._ask(request, self._socket)
            except (RemoteDisconnected, ConnectionResetError):
                self.close()  # a server may end a connection that it has answered on
        self._socket = socket.create_connection(self._place, timeout=PATIENCE)
        try:
            return self._ask(request, self._socket)
        except (OSError, HTTPException) as error:
            raise AssertionError(f"no answer to {request.wire!r}: {error!r}") from error

    def _ask(self, request: Request, connection: socket.socket) -> Reply:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it is complete
            connection.sendall(request.wire)
        response = HTTPResponse(connection, method=request.method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        endless = headers.get("content-type") == "text/event-stream"
        body = b"" if endless and request.method != "HEAD" else response.read()
        if response.will_close or endless or not request.framed:
            self.close()
        return Reply(request.method, response.status, headers, body)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
