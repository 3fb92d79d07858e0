"""The commands that ask a core what people at a terminal would ask REST."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import typer

from sessiongate.gateway.cli.command import Command
from sessiongate.gateway.cli.exposure import refuse_cleartext_token
from sessiongate.gateway.cli.groups import taking
from sessiongate.gateway.cli.options import (
    AsJsonOption,
    ConfigOption,
    CoreOption,
    CoreTimeoutOption,
    CoreTokenOption,
    LinkUrlOption,
    SessionIdArgument,
)
from sessiongate.gateway.cli.origin import refuse
from sessiongate.gateway.settings import DEFAULT_CORE, DEFAULT_CORE_TIMEOUT, GatewayConfig
from sessiongate.gateway.upstream.trust import CoreTls

app = typer.Typer()


@app.command("list", cls=Command)
@taking(core_trust=CoreTls)
def list_command(
    context: typer.Context,
    *,
    core: CoreOption = DEFAULT_CORE,
    core_timeout: CoreTimeoutOption = DEFAULT_CORE_TIMEOUT,
    core_token_file: CoreTokenOption = None,
    core_trust: CoreTls,
    public_url: LinkUrlOption = None,
    json: AsJsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the sessions that a core knows.

    A line a session: who, from where, on what, since when. On standard error stands which
    sources could not be read.

    \b
    Example:
      sessiongate list --core 127.0.0.1:50051
    """
    _check(context, core, core_trust, core_token_file)
    from sessiongate.gateway.cli.questions import ask, listing

    ask(listing(public_url, json=json), core, core_timeout, core_trust, core_token_file)


@app.command("show", cls=Command)
@taking(core_trust=CoreTls)
def show_command(
    context: typer.Context,
    ident: SessionIdArgument,
    *,
    core: CoreOption = DEFAULT_CORE,
    core_timeout: CoreTimeoutOption = DEFAULT_CORE_TIMEOUT,
    core_token_file: CoreTokenOption = None,
    core_trust: CoreTls,
    public_url: LinkUrlOption = None,
    json: AsJsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show all that a core knows of one session.

    ID is the number that `sessiongate list` begins the session's line with.

    \b
    Example:
      sessiongate show 3
    """
    _check(context, core, core_trust, core_token_file)
    from sessiongate.gateway.cli.questions import ask, showing

    ask(showing(ident, public_url, json=json), core, core_timeout, core_trust, core_token_file)


@app.command("sources", cls=Command)
@taking(core_trust=CoreTls)
def sources_command(
    context: typer.Context,
    *,
    core: CoreOption = DEFAULT_CORE,
    core_timeout: CoreTimeoutOption = DEFAULT_CORE_TIMEOUT,
    core_token_file: CoreTokenOption = None,
    core_trust: CoreTls,
    public_url: LinkUrlOption = None,
    json: AsJsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the sources that a core reads, and how that goes.

    Of one that cannot be read, the last column says why.

    \b
    Example:
      sessiongate sources --core 127.0.0.1:50051
    """
    _check(context, core, core_trust, core_token_file)
    from sessiongate.gateway.cli.questions import ask, listing_sources

    ask(listing_sources(public_url, json=json), core, core_timeout, core_trust, core_token_file)


@app.command("watch", cls=Command)
@taking(core_trust=CoreTls)
def watch_command(
    context: typer.Context,
    *,
    core: CoreOption = DEFAULT_CORE,
    core_timeout: CoreTimeoutOption = DEFAULT_CORE_TIMEOUT,
    core_token_file: CoreTokenOption = None,
    core_trust: CoreTls,
    config: ConfigOption = None,
) -> None:
    """Show the sessions as they come and go, until Ctrl-C.

    A live table at a terminal. In a pipe, a line for each change: + came, ~ changed, - went.

    \b
    Example:
      sessiongate watch | grep alice
    """
    _check(context, core, core_trust, core_token_file)
    from sessiongate.gateway.cli.questions import ask, watch

    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # so that the terminal is restored
        ask(watch, core, core_timeout, core_trust, core_token_file)


@app.command("check", cls=Command)
@taking(core_trust=CoreTls)
def check_command(
    context: typer.Context,
    *,
    core: CoreOption = DEFAULT_CORE,
    core_timeout: CoreTimeoutOption = DEFAULT_CORE_TIMEOUT,
    core_token_file: CoreTokenOption = None,
    core_trust: CoreTls,
    config: ConfigOption = None,
) -> None:
    """Ask a core whether it can answer now.

    Ends with 0 if it can, with 1 if not.

    \b
    Example:
      sessiongate check --core 127.0.0.1:50051
    """
    _check(context, core, core_trust, core_token_file)
    from sessiongate.gateway.cli.questions import ask
    from sessiongate.gateway.upstream.client import CoreClient

    ask(CoreClient.check, core, core_timeout, core_trust, core_token_file)
    print(f"the core at {core} is ready")


def _check(context: typer.Context, core: str, trust: CoreTls, token_file: Path | None) -> None:
    """Refuse settings with which no core can be asked, naming where each came from."""
    refuse_cleartext_token(context, core, trust.tls, token_file)
    files = GatewayConfig(core_trust=trust, core_token_file=token_file)
    for name, text in files.troubles().items():
        refuse(context, text, name)
