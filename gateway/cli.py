"""The commands of ``sessiongate``. They end with 0, with 1, or with 2: no use in trying again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib.metadata import version
from typing import Annotated, NoReturn, TypeVar

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
from gateway.jsonapi.document import dump, top_meta
from gateway.options import (
    AllowedHosts,
    AsJson,
    Command,
    Config,
    Core,
    CoreTimeout,
    Grpc,
    Http,
    Insecure,
    Ledger,
    OtherCore,
    PublicUrl,
    ReplicaStaleness,
    ReplicaUse,
    SessionId,
    Sources,
    StaleAfter,
    Workers,
    given_as_flag,
    place,
)
from gateway.resources import session_resource, session_url, sessions_url, unreachable_meta
from gateway.server import ListenError
from gateway.server import serve as serve_gateway
from gateway.sessions import EVERYTHING, DirectView, SessionView
from gateway.supervisor import HOPELESS, CoreStartError, Settings, Supervisor, become_core
from gateway.terminal import print_session, print_sessions, print_unreachable
from gateway.values import Source, is_private
from runtime.address import Address

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
    insecure: Insecure = False,
    config: Config = None,
) -> None:
    """Serve sessions over REST and gRPC: a core and a gateway, or with --core a gateway alone."""
    settings = _core_settings(grpc, source, ledger, stale_after)
    if not insecure:
        _require_loopback(context, "http", http)
        if core is None:
            _require_loopback(context, "grpc", grpc)
    if core is not None:
        _refuse_flags(context, settings)
    try:
        gateway = GatewayConfig(
            http=http,
            core=core or DEFAULT_CORE,  # of its own: the real one once that listens
            public_url=public_url,
            allowed_hosts=tuple(allowed_host or ()),
            core_timeout=core_timeout,
            replica_staleness=replica_staleness if replica else 0.0,
            workers=workers,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    # Until the gateway runs and takes the signals over, both of them end up here.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        shown = "those of the core"
        try:
            if core is None:
                supervisor = stack.enter_context(Supervisor(settings, _report))
                gateway = replace(gateway, core=supervisor.address)
                shown = ", ".join(map(str, source))
            serve_gateway(gateway, lambda address: _welcome(address, gateway.core, shown))
        except CoreStartError as error:
            _fail(str(error), HOPELESS if error.code == HOPELESS else 1)
        except ListenError as error:
            _fail(str(error), HOPELESS)


@app.command("core", cls=Command)
def run_core(
    context: typer.Context,
    *,
    grpc: Grpc = DEFAULT_CORE,
    source: Sources,
    ledger: Ledger,
    stale_after: StaleAfter = DEFAULT_STALE_AFTER,
    insecure: Insecure = False,
    config: Config = None,
) -> None:
    """Serve sessions over gRPC only: a core alone."""
    if not insecure:
        _require_loopback(context, "grpc", grpc)
    try:
        become_core(_core_settings(grpc, source, ledger, stale_after))
    except OSError as error:
        _fail(f"the core cannot be started: {error}", HOPELESS)


@app.command("list", cls=Command)
def list_sessions(
    *,
    core: Core = DEFAULT_CORE,
    core_timeout: CoreTimeout = DEFAULT_CORE_TIMEOUT,
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

    _ask(ask, core, core_timeout)


@app.command("show", cls=Command)
def show_session(
    ident: SessionId,
    *,
    core: Core = DEFAULT_CORE,
    core_timeout: CoreTimeout = DEFAULT_CORE_TIMEOUT,
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

    _ask(ask, core, core_timeout)


def _core_settings(grpc: str, source: list[Source], ledger: str, stale_after: float) -> Settings:
    return {
        "grpc": grpc,
        "source": [each.setting for each in source],
        "ledger": ledger,
        "stale_after": stale_after,
    }


def _require_loopback(context: typer.Context, name: str, address: str) -> None:
    if not is_private(address):
        raise typer.BadParameter(
            f"other machines can reach {address}, and there is no TLS and no password yet to"
            " keep them out: whoever connects sees who uses your databases. Listen on"
            " loopback, such as 127.0.0.1:8989, or accept that with --insecure",
            param_hint=place(context, name),
        )


def _refuse_flags(context: typer.Context, settings: Settings) -> None:
    """Beside --core, flags for a core of one's own are a mistake."""
    for name in settings:
        if given_as_flag(context, name):
            raise typer.BadParameter(
                "it is for the core that serve starts, and with --core it starts none",
                param_hint=place(context, name),
            )


def _welcome(http: str, core: str, sources: str) -> None:
    address = Address.parse(http)
    here = address.host in ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 - not bound
    url = f"http://localhost:{address.port}" if here else f"http://{http}"
    print(
        f"Sessiongate {version('sessiongate')}\n"
        f"  REST     http://{http}/v1/sessions\n"
        f"  gRPC     {core}\n"
        f"  Sources  {sources}\n"
        f"  Try      curl '{url}/v1/sessions?pretty=true'",
        flush=True,
    )


def _ask(question: Callable[[SessionView], Awaitable[None]], core: str, timeout: float) -> None:
    """Ask a core; where it fails, say so and end."""

    async def ask() -> None:
        client = CoreClient(core, timeout)
        try:
            await question(DirectView(client))
        finally:
            await client.close()

    try:
        asyncio.run(ask())
    except CoreError as error:
        if error.reason is None and error.code is grpc_status.StatusCode.UNAVAILABLE:
            _fail(f"no core answers at {core}; `sessiongate serve` starts one")
        _fail(error_of(error).detail)


def _report(text: str) -> None:
    typer.echo(f"sessiongate: {text}", err=True)


def _fail(text: str, code: int = 1) -> NoReturn:
    _report(text)
    raise typer.Exit(code)
