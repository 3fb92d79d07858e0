"""The commands of ``sessiongate``. They end with 0, with 1, or with 2: no use in trying again."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated

import typer

from gateway.asking import app as asking_app
from gateway.config import (
    DEFAULT_CORE,
    DEFAULT_CORE_TIMEOUT,
    DEFAULT_HTTP,
    DEFAULT_REPLICA_STALENESS,
    DEFAULT_WORKERS,
    GatewayConfig,
)
from gateway.exposure import require_cover, require_shelter
from gateway.groups import taking
from gateway.limits import Limits
from gateway.options import (
    AllowedHosts,
    Command,
    Config,
    CoreGrpc,
    CoreMetrics,
    CoreTimeout,
    CoreTokenFile,
    Grpc,
    Http,
    Insecure,
    Ledger,
    Metrics,
    OtherCore,
    PublicUrl,
    Reflection,
    ReplicaStaleness,
    ReplicaUse,
    Sources,
    StaleAfter,
    TrustedProxies,
    Workers,
    given_as_flag,
    place,
)
from gateway.reporting import fail
from gateway.supervisor import HOPELESS, CoreStartError, become_core
from gateway.trust import CoreTrust
from gateway.users import app as users_app
from gateway.values import Source
from runtime.address import Address
from runtime.file_value import FileError
from runtime.limits import CoreLimits
from runtime.listener import ListenError
from runtime.logs import LogSettings, set_up_logs
from runtime.protection import Protection
from runtime.settings import given
from runtime.systemd import READY, STOPPING, Notifier

log = logging.getLogger(__name__)

DEFAULT_STALE_AFTER = 30.0

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # errors on one line, for whatever reads them
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Who is connected to our databases and proxies right now, to what, since when.

    \b
    Example:
      sessiongate serve           serve this machine's sessions
      sessiongate list            list them, from another terminal
      sessiongate serve --help    what a command does, and its settings""",
)
app.add_typer(asking_app)
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
@taking(
    protection=Protection,
    core_trust=CoreTrust,
    limits=Limits,
    core_limits=CoreLimits,
    logs=LogSettings,
)
def serve(
    context: typer.Context,
    *,
    http: Http = DEFAULT_HTTP,
    grpc: CoreGrpc = DEFAULT_CORE,
    source: Sources,
    ledger: Ledger,
    stale_after: StaleAfter = DEFAULT_STALE_AFTER,
    core: OtherCore = None,
    core_timeout: CoreTimeout = DEFAULT_CORE_TIMEOUT,
    public_url: PublicUrl = None,
    allowed_host: AllowedHosts = None,
    replica: ReplicaUse = "on",
    replica_staleness: ReplicaStaleness = DEFAULT_REPLICA_STALENESS,
    workers: Workers = DEFAULT_WORKERS,
    protection: Protection,
    core_token_file: CoreTokenFile = None,
    core_trust: CoreTrust,
    reflection: Reflection = "on",
    trusted_proxies: TrustedProxies = None,
    metrics: Metrics = None,
    core_metrics: CoreMetrics = None,
    limits: Limits,
    core_limits: CoreLimits,
    logs: LogSettings,
    insecure: Insecure = False,
    config: Config = None,
) -> None:
    """Serve sessions over REST and gRPC.

    Starts a core, which reads the sources, and a gateway, which answers HTTP; with --core a
    gateway alone. Runs until Ctrl-C. Each setting can be a flag, a variable, or a key of the file
    that --config names: a flag wins over a variable, a variable over the file.

    \b
    Example:
      sessiongate serve --source haproxy:/run/haproxy/sessiongate.sock
      curl 'http://localhost:8989/v1/sessions?pretty=true'
    """
    settings = _core_settings(
        grpc, source, ledger, stale_after, reflection, core_metrics, core_limits
    )
    if not insecure:
        for name, address in (("http", http), ("metrics", metrics), ("core_metrics", core_metrics)):
            require_shelter(context, name, address, protection.tls, protection.credentials())
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
            trusted_proxies=tuple(trusted_proxies or ()),
            metrics=metrics,
            limits=limits,
            logs=logs,
        )
        gateway.check_files()
    except FileError as error:
        fail(str(error), HOPELESS)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    set_up_logs("gateway", logs)
    from gateway.own_core import own_core
    from gateway.server import serve as serve_gateway

    notify = Notifier()
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        # Until the gateway runs and takes the signals over, both of them end up here.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        grpc_shown, sources_shown = gateway.core, "those of the core"
        try:
            if core is None:
                settings |= asdict(logs)
                gateway, grpc_shown = stack.enter_context(own_core(gateway, settings, log.warning))
                sources_shown = ", ".join(map(str, source))
            stack.callback(notify, STOPPING)

            def on_listening(http: str) -> None:
                _welcome(gateway, http, grpc_shown, sources_shown)
                notify(READY)

            serve_gateway(gateway, on_listening)
        except CoreStartError as error:
            fail(str(error), HOPELESS if error.code == HOPELESS else 1)
        except ListenError as error:
            fail(str(error), HOPELESS)


@app.command("core", cls=Command)
@taking(protection=Protection, core_limits=CoreLimits, logs=LogSettings)
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
    core_metrics: CoreMetrics = None,
    core_limits: CoreLimits,
    logs: LogSettings,
    insecure: Insecure = False,
    config: Config = None,
) -> None:
    """Serve sessions over gRPC alone.

    Starts a core, which reads the sources; gateways elsewhere find it with --core. Runs until
    Ctrl-C. Each setting can be a flag, a variable, or a key of the file that --config names: a
    flag wins over a variable, a variable over the file.

    \b
    Example:
      sessiongate core --grpc unix:/run/sessiongate/core.sock --source host:
    """
    if not insecure:
        own = protection.credentials()
        require_shelter(context, "core_metrics", core_metrics, protection.tls, own)
        guards = protection.credentials(core_token_file)
        require_shelter(context, "grpc", grpc, protection.tls, guards)
    settings = _core_settings(
        grpc, source, ledger, stale_after, reflection, core_metrics, core_limits
    )
    if core_token_file is not None:
        settings["core_token_file"] = str(core_token_file)
    try:
        become_core({**settings, **given(protection), **asdict(logs)})
    except OSError as error:
        fail(f"the core cannot be started: {error}", HOPELESS)


def _core_settings(
    grpc: str,
    source: list[Source],
    ledger: str,
    stale_after: float,
    reflection: bool,
    metrics: str | None,
    limits: CoreLimits,
) -> dict[str, object]:
    return {
        "grpc": grpc,
        "source": [each.setting for each in source],
        "ledger": ledger,
        "stale_after": stale_after,
        "reflection": reflection,
        "core_metrics": metrics,
        **asdict(limits),
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
        f"  Try      curl '{url}/v1/sessions?pretty=true'\n",
        end="",  # in one piece: others write to the same terminal
        flush=True,
    )
