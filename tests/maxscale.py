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
    ``status`` applies to every answer, each of which waits for ``answers``.
    """

    def __init__(self) -> None:
        self.requests: list[web.BaseRequest] = []
        self.sessions: bytes | None = RECORDED
        self.maxscale: object = {"data": {"attributes": {"started_at": STARTED, "uptime": 5}}}
        self.servers: object = SERVERS
        self.services: object = SERVICES
        self.status = 200
        self.answers = asyncio.Event()
        self.answers.set()
        self.port = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        await self.answers.wait()
        if self.status != 200:
            headers = {"Location": f"http://127.0.0.1:{self.port}/elsewhere"}
            return web.Response(status=self.status, headers=headers, text="no secret here")
        name = request.path.removeprefix("/v1/")
        if name == "sessions" and self.sessions is not None:
            return web.Response(body=self.sessions, content_type="application/json")
        resources = {
            "maxscale": self.maxscale,
            "servers": self.servers,
            "services": self.services,
        }
        value = resources.get(name)
        return web.Response(status=404) if value is None else web.json_response(value)

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
