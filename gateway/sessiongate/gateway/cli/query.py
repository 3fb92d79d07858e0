"""The commands that ask a core what people at a terminal would ask REST."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Annotated

import typer

from sessiongate.gateway.cli.command import Command
from sessiongate.gateway.cli.exposure import refuse_cleartext_token
from sessiongate.gateway.cli.groups import reading, taking
from sessiongate.gateway.cli.origin import refuse
from sessiongate.gateway.jsonapi.ids import parse_id
from sessiongate.gateway.settings import GatewayConfig, LinkSettings, UpstreamSettings
from sessiongate.runtime.urls import redacted

app = typer.Typer()


def _session_id(value: object) -> int:
    """Read a session's id: 1 to 2^64-1."""
    found = parse_id(str(value))
    if found is None:
        raise ValueError(f"{redacted(value)} is not an id: a number from 1 to 18446744073709551615")
    return found


AsJsonOption = Annotated[bool, typer.Option("--json", help="Print the JSON:API document.")]
SessionIdArgument = Annotated[
    int,
    typer.Argument(
        metavar="ID", help="The session's id.", parser=reading(_session_id), show_default=False
    ),
]


@app.command("list", cls=Command)
@taking
def list_command(
    context: typer.Context,
    *,
    upstream: UpstreamSettings,
    links: LinkSettings,
    json: AsJsonOption = False,
) -> None:
    """List the sessions that a core knows.

    A line a session: who, from where, on what, since when. On standard error stands which
    sources could not be read.

    \b
    Example:
      sessiongate list --core 127.0.0.1:50051
    """
    _check(context, upstream)
    from sessiongate.gateway.cli.questions import ask, listing

    ask(listing(links.public_url, json=json), upstream)


@app.command("show", cls=Command)
@taking
def show_command(
    context: typer.Context,
    ident: SessionIdArgument,
    *,
    upstream: UpstreamSettings,
    links: LinkSettings,
    json: AsJsonOption = False,
) -> None:
    """Show all that a core knows of one session.

    ID is the number that `sessiongate list` begins the session's line with.

    \b
    Example:
      sessiongate show 3
    """
    _check(context, upstream)
    from sessiongate.gateway.cli.questions import ask, showing

    ask(showing(ident, links.public_url, json=json), upstream)


@app.command("sources", cls=Command)
@taking
def sources_command(
    context: typer.Context,
    *,
    upstream: UpstreamSettings,
    links: LinkSettings,
    json: AsJsonOption = False,
) -> None:
    """List the sources that a core reads, and how that goes.

    Of one that cannot be read, the last column says why.

    \b
    Example:
      sessiongate sources --core 127.0.0.1:50051
    """
    _check(context, upstream)
    from sessiongate.gateway.cli.questions import ask, listing_sources

    ask(listing_sources(links.public_url, json=json), upstream)


@app.command("watch", cls=Command)
@taking
def watch_command(
    context: typer.Context,
    *,
    upstream: UpstreamSettings,
) -> None:
    """Show the sessions as they come and go, until Ctrl-C.

    A live table at a terminal. In a pipe, a line for each change: + came, ~ changed, - went.

    \b
    Example:
      sessiongate watch | grep alice
    """
    _check(context, upstream)
    from sessiongate.gateway.cli.questions import ask, watch

    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # so that the terminal is restored
        ask(watch, upstream)


@app.command("check", cls=Command)
@taking
def check_command(
    context: typer.Context,
    *,
    upstream: UpstreamSettings,
) -> None:
    """Ask a core whether it can answer now.

    Ends with 0 if it can, with 1 if not.

    \b
    Example:
      sessiongate check --core 127.0.0.1:50051
    """
    _check(context, upstream)
    from sessiongate.gateway.cli.questions import ask
    from sessiongate.gateway.upstream.client import CoreClient

    ask(CoreClient.check, upstream)
    print(f"the core at {upstream.core_address} is ready")


def _check(context: typer.Context, upstream: UpstreamSettings) -> None:
    """Refuse settings with which no core can be asked, naming where each came from."""
    refuse_cleartext_token(context, upstream)
    for name, text in GatewayConfig(**vars(upstream)).troubles().items():
        refuse(context, text, name)
