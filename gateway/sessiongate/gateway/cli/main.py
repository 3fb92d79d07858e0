"""The commands of ``sessiongate``. They exit with 0, with 1, or with 2 if a retry cannot help."""

from __future__ import annotations

import logging
import signal
from contextlib import ExitStack, suppress
from typing import Annotated

import typer

from sessiongate.gateway.cli.collisions import refuse_collisions
from sessiongate.gateway.cli.command import Command, CommandGroup, GatheringCommand
from sessiongate.gateway.cli.exposure import (
    Exposure,
    refuse_open_listeners,
    refuse_remote_actions,
)
from sessiongate.gateway.cli.fleet import app as fleet_app
from sessiongate.gateway.cli.groups import taking, with_options_of
from sessiongate.gateway.cli.ledger import app as ledger_app
from sessiongate.gateway.cli.origin import gather, place, refuse
from sessiongate.gateway.cli.plan import (
    Plan,
    core_origins,
    plan_of,
    refuse_flags,
    refuse_sources_of_front,
)
from sessiongate.gateway.cli.query import app as asking_app
from sessiongate.gateway.cli.reporting import fail, report
from sessiongate.gateway.cli.settings_file import warn_of_variables
from sessiongate.gateway.cli.supervisor import CoreStartError, become_core, check_core_settings
from sessiongate.gateway.cli.users import app as users_app
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.runtime.addresses import Address
from sessiongate.runtime.auth.core_token import CoreTokenSettings
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.core_settings import (
    CoreSettings,
    FleetSettings,
    LedgerSettings,
    SourceSettings,
)
from sessiongate.runtime.core_tls import CoreTlsSettings
from sessiongate.runtime.descriptors import need_no_output
from sessiongate.runtime.exit_codes import EXIT_UNRECOVERABLE
from sessiongate.runtime.limits import CoreLimits
from sessiongate.runtime.listener import ListenError
from sessiongate.runtime.settings import given, settings_of
from sessiongate.runtime.systemd import READY, STOPPING, Notifier
from sessiongate.runtime.telemetry.logs import LogSettings, set_up_logs
from sessiongate.runtime.watched_file import FileError

log = logging.getLogger(__name__)

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # errors on one line, for programs that read them
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Show who is connected to which databases and proxies, and since when.

    \b
    Example:
      sessiongate serve           serve this machine's sessions
      sessiongate list            list them, from another terminal
      sessiongate serve --help    describe a command and its settings""",
)
app.add_typer(asking_app)
app.add_typer(users_app, name="users")
app.add_typer(ledger_app, name="ledger")
app.add_typer(fleet_app, name="fleet")


def _version() -> str:
    from importlib.metadata import version

    return version("sessiongate")


def _print_version(wanted: bool) -> None:
    if wanted:
        print("sessiongate", _version())
        raise typer.Exit


@app.callback()
def _sessiongate(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    warn_of_variables(context.command)


@app.command(cls=Command)
@with_options_of(plan_of)
def serve(context: typer.Context, plan: Plan) -> None:
    """Serve sessions over REST and gRPC.

    Starts a core, which reads the sources, and a gateway, which answers HTTP; with --core, only
    a gateway. Runs until Ctrl-C. Each setting can be a flag, a variable, or a key in the --config
    file: a flag overrides a variable, which overrides the file.

    \b
    Example:
      sessiongate serve --source haproxy:/run/haproxy/sessiongate.sock
      curl 'http://localhost:8989/v1/sessions?pretty=true'
    """
    need_no_output()
    if plan.core is not None and plan.core["fleet"]:
        text = "is for `sessiongate core`; start that, and this command with --core"
        refuse(context, text, "fleet")
    gateway = plan.gateway
    set_up_logs("gateway", gateway.logs)
    _warn_of_exposures(context, gateway)
    from sessiongate.gateway.cli.left_behind import ending_without_them
    from sessiongate.gateway.cli.own_core import own_core
    from sessiongate.gateway.server.main import run_server as serve_gateway

    notify = Notifier()
    with ending_without_them(), suppress(KeyboardInterrupt), ExitStack() as stack:
        # Until the gateway runs and takes over the signals, both end up here.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        grpc_shown, sources_shown = gateway.cores_shown, "those of the core"
        try:
            if plan.core is not None:
                gateway, grpc_shown = stack.enter_context(own_core(gateway, plan.core, log.warning))
                sources_shown = ", ".join(plan.sources)
            stack.callback(notify, STOPPING)

            def on_listening(http: str) -> None:
                _welcome(gateway, http, grpc_shown, sources_shown)
                notify(READY)

            serve_gateway(gateway, on_listening)
        except CoreStartError as error:
            if error.code == EXIT_UNRECOVERABLE:
                raise typer.Exit(EXIT_UNRECOVERABLE) from None  # the core has said why
            fail(str(error), 1)
        except ListenError as error:
            name = "http" if error.where == gateway.http else "metrics"
            fail(f"{place(context, name)}: {error}", EXIT_UNRECOVERABLE)
        except FileError as error:
            fail(str(error), EXIT_UNRECOVERABLE)


@app.command("check-config", cls=GatheringCommand)
@with_options_of(plan_of)
def check_config(context: typer.Context, plan: Plan) -> None:
    """Check the settings of `serve` or `core`, and start nothing.

    Takes the same flags, variables and file. Prints one line per error in the settings, in the
    sources and their options, and in the files that they name. Exits with 0 if there are no
    errors, otherwise with 2. Connects to no server, and does not check whether other programs use
    the addresses or the ledger.

    \b
    Example:
      sessiongate check-config --config /etc/sessiongate/sessiongate.toml
    """
    faults = [_line(fault) for fault in gather(context)]
    if plan.core is not None:
        faults += check_core_settings(plan.core)
    for line in dict.fromkeys(faults):
        report(line)
    if faults:
        raise typer.Exit(EXIT_UNRECOVERABLE)
    for name, text in plan.gateway.exposures().items():
        report(f"warning: {place(context, name)}: {text}")
    print(f"no errors in these settings and the files that they name\n{_told(plan)}", end="")


@app.command("core", cls=Command)
@taking
def run_core(
    context: typer.Context,
    *,
    sources: SourceSettings,
    ledger: LedgerSettings,
    core: CoreSettings,
    fleet: FleetSettings,
    token: CoreTokenSettings,
    tls: CoreTlsSettings,
    exposure: Exposure,
    protection: Protection,
    core_limits: CoreLimits,
    logs: LogSettings,
) -> None:
    """Serve sessions over gRPC only.

    Starts a core, which reads the sources; gateways connect to it with --core. With --fleet, it
    follows the cores that share its ledger instead. Runs until Ctrl-C.
    Each setting can be a flag, a variable, or a key in the --config file: a flag overrides a
    variable, which overrides the file.

    \b
    Example:
      sessiongate core --grpc unix:/run/sessiongate/core.sock --source host:
    """
    listeners = {"grpc": core.grpc, "core_metrics": core.core_metrics}
    if not exposure.insecure:
        refuse_open_listeners(context, listeners, protection, token.core_token_path)
    refuse_remote_actions(context, listeners, protection)
    refuse_sources_of_front(context, fleet)
    if not fleet.fleet:
        refuse_flags(context, settings_of(CoreTlsSettings), "has no effect without --fleet")
    files = GatewayConfig(protection=protection, **vars(token), **vars(tls))
    for name, text in files.troubles().items():
        refuse(context, text, name)
    refuse_collisions(context, listeners)
    if files.exposures():
        set_up_logs("core", logs)  # as the core will have them
        _warn_of_exposures(context, files)
    read = (tls,) if fleet.fleet else (sources,)
    settings = given(core, *read, ledger, fleet, token, protection, core_limits, logs)
    try:
        become_core({**settings, "origins": core_origins(context)})
    except OSError as error:
        fail(f"the core cannot be started: {error}", EXIT_UNRECOVERABLE)


def _warn_of_exposures(context: typer.Context, config: GatewayConfig) -> None:
    """Log which secret files every user of the machine can read."""
    for name, text in config.exposures().items():
        log.warning("%s: %s", place(context, name), text)


def _line(fault: typer.BadParameter) -> str:
    """Return a fault in one line: the origin of the value, and what is wrong with it."""
    return fault.format_message().removeprefix("Invalid value for ").removeprefix("Invalid value: ")


def _told(plan: Plan) -> str:
    """Describe what would start, in lines like those of the welcome."""
    gateway = plan.gateway
    scheme = "https" if gateway.protection.tls else "http"
    lines = [f"REST     {scheme}://{gateway.http}/v1/sessions"]
    if plan.core is None:
        lines += [f"gRPC     of {gateway.core_named}"]
    else:
        lines += [
            f"gRPC     {plan.core['grpc']}",
            f"Sources  {', '.join(plan.sources)}",
        ]
    return "".join(f"  {line}\n" for line in lines)


def _welcome(gateway: GatewayConfig, http: str, grpc: str, sources: str) -> None:
    address = Address.parse(http)
    here = address.host in ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 - not bound
    scheme = "https" if gateway.protection.tls else "http"
    url = f"{scheme}://localhost:{address.port}" if here else f"{scheme}://{http}"
    print(
        f"Sessiongate {_version()}\n"
        f"  REST     {scheme}://{http}/v1/sessions\n"
        f"  gRPC     {grpc}\n"
        f"  Sources  {sources}\n"
        f"  Try      curl '{url}/v1/sessions?pretty=true'\n",
        end="",  # in one piece: others write to the same terminal
        flush=True,
    )
