"""Small applications to wrap in middleware, called with one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message

Headers = Sequence[tuple[bytes, bytes]]


@dataclass
class Exchange:
    """A request as a server passes it to an application, and what is sent in answer."""

    path: str = "/"
    method: str = "GET"
    query: bytes = b""
    headers: Headers = ()
    client: tuple[str, int] = ("127.0.0.1", 4711)
    sent: list[Message] = field(default_factory=list)
    _asked: bool = False
    stuck: asyncio.Event | None = None  # set once the reader takes more than the status
    host: bytes = b"localhost"
    state: dict[str, Any] = field(default_factory=dict)

    def asked(self) -> dict[str, Any]:
        """Return the scope of the request."""
        return {
            "type": "http",
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "headers": [(b"host", self.host), *self.headers],
            "client": self.client,
            "server": ("127.0.0.1", 8989),
            "state": self.state,
        }

    async def run(self, app: ASGIApp) -> Exchange:
        self.scope = self.asked()
        await app(self.scope, self._receive, self._send)
        return self

    async def _receive(self) -> Message:
        if self._asked:
            await asyncio.Event().wait()  # the caller stays connected
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        if self.stuck is not None and message["type"] == "http.response.body":
            await self.stuck.wait()
        self.sent.append(message)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def answered(self) -> dict[str, str]:
        """The answer's headers."""
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def text(self) -> str:
        """The answer's body as sent so far."""
        return b"".join(message.get("body", b"") for message in self.sent[1:]).decode()

    @property
    def complete(self) -> bool:
        """Whether the answer is complete."""
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)
