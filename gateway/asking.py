"""The commands that ask a core: what people at a terminal would ask REST."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import grpc as grpc_status
import typer

from gateway.client import CoreClient, CoreError
from gateway.config import DEFAULT_CORE, DEFAULT_CORE_TIMEOUT
from gateway.errors import error_of
from gateway.exposure import require_cover
from gateway.gaps import Gaps
from gateway.groups import taking
from gateway.jsonapi.document import dump, top_meta
from gateway.options import (
    AsJson,
    Command,
    Config,
    Core,
    CoreTimeout,
    CoreTokenFile,
    PublicUrl,
    SessionId,
)
from gateway.resources import session_resource, session_url, sessions_url
from gateway.sessions import EVERYTHING, DirectView
from gateway.sources import source_resources, sources_url
from gateway.supervisor import HOPELESS
from gateway.terminal import (
    fail,
    print_gaps,
    print_session,
    print_sessions,
    print_sources,
)
from gateway.trust import CoreTrust
from gateway.watching import follow, open_screen
from runtime.file_value import FileError

# What links start with, unless --public-url says.
LOCAL_URL = "http://localhost:8989"

app = typer.Typer()


@app.command("list", cls=Command)
@taking(core_trust=CoreTrust)
def list_sessions(
    context: typer.Context,
    *,
    core: Core = DEFAULT_CORE,
    core_timeout: CoreTimeout = DEFAULT_CORE_TIMEOUT,
    core_token_file: CoreTokenFile = None,
    core_trust: CoreTrust,
    public_url: PublicUrl = None,
    json: AsJson = False,
    config: Config = None,
) -> None:
    """List the sessions that a core knows."""

    async def ask(client: CoreClient) -> None:
        parts = [rows async for rows in DirectView(client).scan(EVERYTHING)]
        sessions = [row.session for rows in parts for row in rows.sessions]
        gaps = Gaps()
        for rows in parts:
            gaps = gaps.union(rows.version.gaps)
        now = time.time()
        if json:
            base = public_url or LOCAL_URL
            document = {
                "links": {"self": sessions_url(base)},
                "data": [session_resource(session, base, now) for session in sessions],
                **top_meta(gaps.meta()),
            }
            print(dump(document, pretty=True).decode())
        else:
            print_sessions(sessions, now)
            print_gaps(gaps)

    _ask(context, ask, core, core_timeout, core_trust, core_token_file)


@app.command("show", cls=Command)
@taking(core_trust=CoreTrust)
def show_session(
    context: typer.Context,
    ident: SessionId,
    *,
    core: Core = DEFAULT_CORE,
    core_timeout: CoreTimeout = DEFAULT_CORE_TIMEOUT,
    core_token_file: CoreTokenFile = None,
    core_trust: CoreTrust,
    public_url: PublicUrl = None,
    json: AsJson = False,
    config: Config = None,
) -> None:
    """Show all that a core knows of one session."""

    async def ask(client: CoreClient) -> None:
        found, version = await DirectView(client).get(ident)
        base = public_url or LOCAL_URL
        resource = session_resource(found.session, base, time.time())
        if json:
            document = {
                "links": {"self": session_url(base, ident)},
                "data": resource,
                **top_meta(version.gaps.meta()),
            }
            print(dump(document, pretty=True).decode())
        else:
            print_session(found.session, resource["attributes"])
            print_gaps(version.gaps)

    _ask(context, ask, core, core_timeout, core_trust, core_token_file)


@app.command("sources", cls=Command)
@taking(core_trust=CoreTrust)
def list_sources(
    context: typer.Context,
    *,
    core: Core = DEFAULT_CORE,
    core_timeout: CoreTimeout = DEFAULT_CORE_TIMEOUT,
    core_token_file: CoreTokenFile = None,
    core_trust: CoreTrust,
    public_url: PublicUrl = None,
    json: AsJson = False,
    config: Config = None,
) -> None:
    """List the sources that a core reads, and how that goes."""

    async def ask(client: CoreClient) -> None:
        sources = await client.list_sources()
        if json:
            base = public_url or LOCAL_URL
            links = {"self": sources_url(base)}
            document = {"links": links, "data": source_resources(sources, base)}
            print(dump(document, pretty=True).decode())
        else:
            print_sources(sources)

    _ask(context, ask, core, core_timeout, core_trust, core_token_file)


@app.command("watch", cls=Command)
@taking(core_trust=CoreTrust)
def watch_sessions(
    context: typer.Context,
    *,
    core: Core = DEFAULT_CORE,
    core_timeout: CoreTimeout = DEFAULT_CORE_TIMEOUT,
    core_token_file: CoreTokenFile = None,
    core_trust: CoreTrust,
    config: Config = None,
) -> None:
    """Show the sessions as they come and go, until Ctrl-C; in a pipe, a line for each change."""

    async def ask(client: CoreClient) -> None:
        with open_screen() as screen:
            await follow(client.watch_sessions, screen)

    with suppress(KeyboardInterrupt):
        _ask(context, ask, core, core_timeout, core_trust, core_token_file)


@app.command("check", cls=Command)
@taking(core_trust=CoreTrust)
def check_core(
    context: typer.Context,
    *,
    core: Core = DEFAULT_CORE,
    core_timeout: CoreTimeout = DEFAULT_CORE_TIMEOUT,
    core_token_file: CoreTokenFile = None,
    core_trust: CoreTrust,
    config: Config = None,
) -> None:
    """Ask a core whether it can answer: ends with 0 where it can, with 1 where not."""
    _ask(context, CoreClient.check, core, core_timeout, core_trust, core_token_file)
    print(f"the core at {core} is ready")


def _ask(
    context: typer.Context,
    question: Callable[[CoreClient], Awaitable[None]],
    core: str,
    timeout: float,
    trust: CoreTrust,
    token_file: Path | None,
) -> None:
    """Ask a core; where it fails, say so and end."""
    require_cover(context, core, trust.tls, token_file)

    async def ask() -> None:
        client = CoreClient(core, timeout, trust.tls, token_file)
        try:
            await question(client)
        finally:
            await client.close()

    try:
        asyncio.run(ask())
    except FileError as error:
        fail(str(error), HOPELESS)
    except CoreError as error:
        if error.code is grpc_status.StatusCode.UNAUTHENTICATED:
            fail(f"the core at {core} lets nobody in without its token: --core-token-file")
        if error.reason is None and error.code is grpc_status.StatusCode.UNAVAILABLE:
            fail(_unreached(core, str(error)))
        fail(error_of(error).detail)


# What gRPC's texts have in them, and what that is to whoever asks.
_UNREACHED = {
    "CERTIFICATE_VERIFY_FAILED": "shows a certificate that --core-ca does not vouch for",
    "handshake failed": "does not speak TLS as it was asked to; --core-ca says that it should",
    "Socket closed": "hangs up; where it speaks TLS, --core-ca FILE is needed",
}


def _unreached(core: str, text: str) -> str:
    """Why no core was reached, and what to do."""
    for sign, fault in _UNREACHED.items():
        if sign in text:
            return f"the core at {core} {fault}"
    return f"no core answers at {core}; `sessiongate serve` starts one"
