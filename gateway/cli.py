"""The commands of ``sessiongate``. They end with 0, with 1, or with 2: no use in trying again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TypeVar

import grpc as grpc_status
import typer

from gateway.client import CoreClient, CoreError
from gateway.config import (
    DEFAULT_CORE,
    DEFAULT_CORE_TIMEOUT,
    DEFAULT_HTTP,
    DEFAULT_REPLICA_STALENESS,
    DEFAULT_WORKERS,
    GatewayConfig,
)
from gateway.errors import error_of
from gateway.exposure import require_cover, require_shelter
from gateway.jsonapi.document import dump, top_meta
from gateway.options import (
    AllowedHosts,
    AsJson,
    Command,
    Config,
    Core,
    CoreTimeout,
    CoreTokenFile,
    Grpc,
    Http,
    Insecure,
    Ledger,
    OtherCore,
    PublicUrl,
    Reflection,
    ReplicaStaleness,
    ReplicaUse,
    SessionId,
    Sources,
    StaleAfter,
    Workers,
    given_as_flag,
    place,
    taking,
)
from gateway.own_core import own_core
from gateway.resources import session_resource, session_url, sessions_url, unreachable_meta
from gateway.server import ListenError
from gateway.server import serve as serve_gateway
from gateway.sessions import EVERYTHING, DirectView, SessionView
from gateway.supervisor import HOPELESS, CoreStartError, become_core
from gateway.terminal import fail, print_session, print_sessions, print_unreachable, report
from gateway.trust import CoreTrust
from gateway.users import app as users_app
from gateway.values import Source
from runtime.address import Address
from runtime.file_value import FileError
from runtime.protection import Protection
from runtime.settings import given

DEFAULT_STALE_AFTER = 30.0
# What the links of `list` and `show` start with, unless --public-url says.
LOCAL_URL = "http://localhost:8989"

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # errors on one line, for whatever reads them
    help="Who is connected to our databases and proxies right now, to what, since when.",
)
app.add_typer(users_app, name="users")


def _print_version(wanted: bool) -> None:
    if wanted:
        print("sessiongate", version("sessiongate"))
        raise typer.Exit


@app.callback()
def _sessiongate(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    pass


@app.command(cls=Command)
@taking(protection=Protection, core_trust=CoreTrust)
def serve(
    context: typer.Context,
    *,
    http: Http = DEFAULT_HTTP,
    grpc: Grpc = DEFAULT_CORE,
    source: Sources,
    ledger: Ledger,
    stale_after: StaleAfter = DEFAULT_STALE_AFTER,
    core: OtherCore = None,
    core_timeout: CoreTimeout = DEFAULT_CORE_TIMEOUT,
    public_url: PublicUrl = None,
    allowed_host: AllowedHosts = None,
    replica: ReplicaUse = True,
    replica_staleness: ReplicaStaleness = DEFAULT_REPLICA_STALENESS,
    workers: Workers = DEFAULT_WORKERS,
    protection: Protection,
    core_token_file: CoreTokenFile = None,
    core_trust: CoreTrust,
    reflection: Reflection = "on",
    insecure: Insecure = False,
    config: Config = None,
) -> None:
    """Serve sessions over REST and gRPC: a core and a gateway, or with --core a gateway alone."""
    settings = _core_settings(grpc, source, ledger, stale_after, reflection)
    if not insecure:
        require_shelter(context, "http", http, protection.tls, protection.credentials())
        if core is None:
            guards = protection.credentials(core_token_file)
            require_shelter(context, "grpc", grpc, protection.tls, guards)
        else:
            require_cover(context, core, core_trust.tls, core_token_file)
    if core is None:
        _refuse_flags(context, asdict(core_trust), "a core elsewhere, which needs --core")
    else:
        _refuse_flags(
            context, settings, "the core that serve starts, and with --core it starts none"
        )
    try:
        gateway = GatewayConfig(
            http=http,
            core=core or DEFAULT_CORE,  # of its own: the real one once that listens
            public_url=public_url,
            allowed_hosts=tuple(allowed_host or ()),
            core_timeout=core_timeout,
            replica_staleness=replica_staleness if replica else 0.0,
            workers=workers,
            protection=protection,
            core_trust=core_trust,
            core_token_file=core_token_file,
        )
        gateway.check_files()
    except FileError as error:
        fail(str(error), HOPELESS)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    # Until the gateway runs and takes the signals over, both of them end up here.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        grpc_shown, sources_shown = gateway.core, "those of the core"
        try:
            if core is None:
                gateway, grpc_shown = stack.enter_context(own_core(gateway, settings, report))
                sources_shown = ", ".join(map(str, source))
            serve_gateway(gateway, lambda http: _welcome(gateway, http, grpc_shown, sources_shown))
        except CoreStartError as error:
            fail(str(error), HOPELESS if error.code == HOPELESS else 1)
        except ListenError as error:
            fail(str(error), HOPELESS)


@app.command("core", cls=Command)
@taking(protection=Protection)
def run_core(
    context: typer.Context,
    *,
    grpc: Grpc = DEFAULT_CORE,
    source: Sources,
    ledger: Ledger,
    stale_after: StaleAfter = DEFAULT_STALE_AFTER,
    protection: Protection,
    core_token_file: CoreTokenFile = None,
    reflection: Reflection = "on",
    insecure: Insecure = False,
    config: Config = None,
) -> None:
    """Serve sessions over gRPC only: a core alone."""
    if not insecure:
        guards = protection.credentials(core_token_file)
        require_shelter(context, "grpc", grpc, protection.tls, guards)
    settings = _core_settings(grpc, source, ledger, stale_after, reflection)
    if core_token_file is not None:
        settings["core_token_file"] = str(core_token_file)
    try:
        become_core({**settings, **given(protection)})
    except OSError as error:
        fail(f"the core cannot be started: {error}", HOPELESS)


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

    async def ask(view: SessionView) -> None:
        parts = [rows async for rows in view.scan(EVERYTHING)]
        sessions = [row.session for rows in parts for row in rows.sessions]
        unreachable = dict.fromkeys(name for rows in parts for name in rows.version.unreachable)
        now = time.time()
        if json:
            base = public_url or LOCAL_URL
            document = {
                "links": {"self": sessions_url(base)},
                "data": [session_resource(session, base, now) for session in sessions],
                **top_meta(unreachable_meta(unreachable)),
            }
            print(dump(document, pretty=True).decode())
        else:
            print_sessions(sessions, now)
            print_unreachable(unreachable)

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

    async def ask(view: SessionView) -> None:
        found, version = await view.get(ident)
        base = public_url or LOCAL_URL
        resource = session_resource(found.session, base, time.time())
        if json:
            document = {
                "links": {"self": session_url(base, ident)},
                "data": resource,
                **top_meta(unreachable_meta(version.unreachable)),
            }
            print(dump(document, pretty=True).decode())
        else:
            print_session(found.session, resource["attributes"])
            print_unreachable(version.unreachable)

    _ask(context, ask, core, core_timeout, core_trust, core_token_file)


def _core_settings(
    grpc: str, source: list[Source], ledger: str, stale_after: float, reflection: bool
) -> dict[str, object]:
    return {
        "grpc": grpc,
        "source": [each.setting for each in source],
        "ledger": ledger,
        "stale_after": stale_after,
        "reflection": reflection,
    }


def _refuse_flags(context: typer.Context, names: Iterable[str], purpose: str) -> None:
    """Refuse flags that would do nothing."""
    for name in names:
        if given_as_flag(context, name):
            raise typer.BadParameter(f"it is for {purpose}", param_hint=place(context, name))


def _welcome(gateway: GatewayConfig, http: str, grpc: str, sources: str) -> None:
    address = Address.parse(http)
    here = address.host in ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 - not bound
    scheme = "https" if gateway.protection.tls else "http"
    url = f"{scheme}://localhost:{address.port}" if here else f"{scheme}://{http}"
    print(
        f"Sessiongate {version('sessiongate')}\n"
        f"  REST     {scheme}://{http}/v1/sessions\n"
        f"  gRPC     {grpc}\n"
        f"  Sources  {sources}\n"
        f"  Try      curl '{url}/v1/sessions?pretty=true'",
        flush=True,
    )


def _ask(
    context: typer.Context,
    question: Callable[[SessionView], Awaitable[None]],
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
            await question(DirectView(client))
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
            fail(f"no core answers at {core}; `sessiongate serve` starts one")
        fail(error_of(error).detail)
