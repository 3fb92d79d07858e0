"""``python -m bench.bare FOLDER``: a minimal application on the gateway's own server.

An ASGI application that sends responses from memory (``FOLDER/answers.json``), and
``/hello`` from a Starlette application, run as `gateway.server.main` runs the gateway.
"""

from __future__ import annotations

import json
import logging
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import sessiongate.gateway.server.main
from bench.asking import Answer
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.gateway.shutdown import Shutdown

_FILE = "answers.json"


def keep(folder: Path, answers: Mapping[str, Answer]) -> None:
    """Store responses, by the path that each is served at."""
    kept = {
        path: {
            "status": answer.status,
            "headers": answer.headers,
            "body": b64encode(answer.body).decode(),
        }
        for path, answer in answers.items()
    }
    (folder / _FILE).write_text(json.dumps(kept))


def create_app(folder: Path, *_: object) -> Starlette:
    """Create the application that sends what `keep` stored; it needs nothing else."""
    kept: dict[str, Any] = json.loads((folder / _FILE).read_text())
    messages = {}
    for path, answer in kept.items():
        headers = [(name.encode(), value.encode()) for name, value in answer["headers"]]
        start = {"type": "http.response.start", "status": answer["status"], "headers": headers}
        body = {"type": "http.response.body", "body": b64decode(answer["body"])}
        messages[path] = (start, body)
    hello = Starlette(routes=[Route("/hello", _hello)])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in messages:
            await hello(scope, receive, send)
            return
        start, body = messages[scope["path"]]
        await send(start)
        await send(body)

    bare = Starlette()
    bare.middleware_stack = app
    bare.state.stopping = Shutdown()
    return bare


async def _hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello, world")


def main() -> None:
    """Serve until stopped; print the address."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # Everything except the application is as in the gateway.
    vars(sessiongate.gateway.server.main)["_create"] = partial(create_app, Path(sys.argv[1]))
    sessiongate.gateway.server.main.run_server(
        GatewayConfig(http="127.0.0.1:0"),
        lambda address: print(f"listening on {address}", flush=True),
    )


if __name__ == "__main__":
    main()
