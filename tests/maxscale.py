"""A web server that answers as a recorded MaxScale 24.02 did."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

from aiohttp import web

from tests.program import DATA
from tests.servers import Certificates

RECORDED = (DATA / "maxscale-24.02" / "sessions.json").read_bytes()
SERVICES = json.loads((DATA / "maxscale-24.02" / "services.json").read_bytes())
# As in MaxScale's documentation: these two are not recorded.
STARTED = "Mon, 23 Nov 2026 18:30:00 GMT"
SERVERS = {
    "data": [
        {
            "id": "server1",
            "type": "servers",
            "attributes": {"parameters": {"address": "127.0.0.1", "port": 3306}},
        }
    ]
}


class MaxScale:
    """A web server with a MaxScale's answers; ``requests`` holds the requests it received.

    It answers with ``sessions``, ``maxscale``, ``servers`` and ``services``, None for 404.
    ``status`` applies to every answer, each of which waits for ``answers``. One session is shown,
    and ended, by its id; ``deletion`` is the status of that, which waits for ``deletes``.
    """

    def __init__(self) -> None:
        self.requests: list[web.BaseRequest] = []
        self.sessions: bytes | None = RECORDED
        self.maxscale: object = {"data": {"attributes": {"started_at": STARTED, "uptime": 5}}}
        self.servers: object = SERVERS
        self.services: object = SERVICES
        self.status = 200
        self.deletion = 204
        self.ends_whatever_it_answers = False
        self.ended: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.deletes = asyncio.Event()
        self.deletes.set()
        self.port = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        await self.answers.wait()
        if request.method == "DELETE":
            await self.deletes.wait()
        if self.status != 200:
            headers = {"Location": f"http://127.0.0.1:{self.port}/elsewhere"}
            return web.Response(status=self.status, headers=headers, text="no secret here")
        name = request.path.removeprefix("/v1/")
        if name.startswith("sessions/"):
            return self._one(request, name.removeprefix("sessions/"))
        if name == "sessions" and self.sessions is not None:
            return web.Response(body=self._left(), content_type="application/json")
        resources = {
            "maxscale": self.maxscale,
            "servers": self.servers,
            "services": self.services,
        }
        value = resources.get(name)
        return web.Response(status=404) if value is None else web.json_response(value)

    def _left(self) -> bytes:
        """Return the list without those that were ended."""
        if not self.ended or self.sessions is None:
            return self.sessions or b""
        document = json.loads(self.sessions)
        document["data"] = [one for one in document["data"] if one["id"] not in self.ended]
        return json.dumps(document).encode()

    def _one(self, request: web.BaseRequest, ident: str) -> web.Response:
        sessions = json.loads(self.sessions or b'{"data": []}')["data"]
        found = [one for one in sessions if one["id"] == ident and ident not in self.ended]
        if not found:
            return web.Response(status=404)
        if request.method == "GET":
            return web.json_response({"data": found[0]})
        if self.deletion == 204 or self.ends_whatever_it_answers:
            self.ended.append(ident)
        return web.Response(status=self.deletion)

    @asynccontextmanager
    async def serving(self, tls: Certificates | None = None, path: str = "") -> AsyncIterator[str]:
        """Serve on a free port, or on a Unix socket; yield the source's location."""
        runner = web.ServerRunner(web.Server(self.answer), shutdown_timeout=0)
        await runner.setup()
        context = None
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls.cert, tls.key)
        site: web.BaseSite = (
            web.UnixSite(runner, path)
            if path
            else web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        )
        await site.start()
        if not path:
            self.port = runner.addresses[0][1]
        try:
            yield quote(path, safe="") or f"127.0.0.1:{self.port}"
        finally:
            await runner.cleanup()
