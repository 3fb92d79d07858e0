"""The commands that ask a core for what REST shows."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from sessiongate.gateway.cli.choice import (
    CLOCK_FLAGS,
    ColumnChoice,
    CountChoice,
    SessionChoice,
    SessionOrder,
)
from sessiongate.gateway.cli.command import AskingCommand
from sessiongate.gateway.cli.completion import completion
from sessiongate.gateway.cli.exposure import refuse_cleartext_secrets
from sessiongate.gateway.cli.groups import reading, taking
from sessiongate.gateway.cli.login import LoginSettings
from sessiongate.gateway.cli.origin import refuse
from sessiongate.gateway.jsonapi.ids import parse_id
from sessiongate.gateway.settings import LinkSettings
from sessiongate.runtime.settings import must_be, one_of

app = typer.Typer()


def _session_id(value: object) -> int:
    """Read a session's id."""
    found = parse_id(str(value))
    if found is None:
        raise must_be("an integer from 1 to 18446744073709551615", value)
    return found


_NOT_WATCHED = (
    "cannot be watched: as time passes, sessions begin to match without any change of theirs;"
    " use `sessiongate list`"
)
_NOT_ORDERED = (
    "is only for the table at a terminal: here, a line for each change is printed as it happens;"
    " use `sessiongate list`"
)

_DOCUMENTS = ("table", "json", "yaml")
_FORMS = ("table", "wide", "json", "jsonl", "csv", "yaml")
_OUTPUT = "Print a table or the JSON:API document, as JSON or YAML: table, json or yaml."


def _output_option(help: str, forms: Sequence[str]) -> Any:
    return typer.Option("--output", "-o", help=help, metavar="FORM", parser=reading(one_of(*forms)))


AsJsonOption = Annotated[bool, typer.Option("--json", help="The same as --output json.")]
FollowOption = Annotated[
    bool,
    typer.Option(
        "--follow", help="Show the session again when it has changed, until it has ended."
    ),
]
DocumentOption = Annotated[Any, _output_option(_OUTPUT, _DOCUMENTS)]
ListingOption = Annotated[
    Any,
    _output_option(
        "Print a table, one as wide as it gets, the JSON:API document as JSON or YAML, an object"
        f" on each line, or CSV: {', '.join(_FORMS[:-1])} or {_FORMS[-1]}.",
        _FORMS,
    ),
]
SessionIdArgument = Annotated[
    int,
    typer.Argument(
        metavar="ID",
        help="The session's id.",
        parser=reading(_session_id),
        show_default=False,
        autocompletion=completion("id"),
    ),
]


@app.command("list", cls=AskingCommand)
@taking
def list_command(
    context: typer.Context,
    *,
    choice: SessionChoice,
    order: SessionOrder,
    columns: ColumnChoice,
    count: CountChoice,
    upstream: LoginSettings,
    links: LinkSettings,
    output: ListingOption = "table",
    json: AsJsonOption = False,
) -> None:
    """List the sessions of a core.

    Prints one line per session: who is connected, from where, to what, and since when. Lists
    sources that could not be read on standard error. A session is listed if it matches one of the
    values of each flag that is given.

    \b
    Example:
      sessiongate list --core 127.0.0.1:50051
      sessiongate list --user alice --user bob --remote 10.0.0.0/8
      sessiongate list --activity 'idle in transaction' --min-activity-duration 5m
      sessiongate list --sort activity.since --limit 20
      sessiongate list --columns id,application,activity.state,activity.blocked_by
      sessiongate list --output csv
      sessiongate list --by user,application --limit 10
    """
    form = "json" if json else output
    if columns.columns and form in ("json", "jsonl", "yaml"):
        refuse(context, f"is only for tables and CSV, not for {form}, which has members", "columns")
    if count.by:
        for name, value in (("sort", order.sort), ("columns", columns.columns)):
            if value:
                refuse(context, "is for sessions; --by prints the largest counts first", name)
    _check(context, upstream)
    from sessiongate.gateway.cli.questions import ask, counting, listing

    if count.by:
        ask(counting(choice, count.by, order.limit, links.public_url, form), upstream)
        return

    ask(listing(choice, order, columns.columns, links.public_url, form), upstream)


@app.command("show", cls=AskingCommand)
@taking
def show_command(
    context: typer.Context,
    ident: SessionIdArgument,
    *,
    upstream: LoginSettings,
    links: LinkSettings,
    output: DocumentOption = "table",
    json: AsJsonOption = False,
    follow: FollowOption = False,
) -> None:
    """Show all that a core knows about one session.

    ID is the first number on the session's line in `sessiongate list`. Below its attributes stand
    its chain from the client through proxies to servers, and who blocks whom. Ctrl-C ends --follow.

    \b
    Example:
      sessiongate show 3
      sessiongate show 3 --follow
    """
    form = "json" if json else output
    if follow and form != "table":
        refuse(context, f"is only for the table, not for {form}; use `sessiongate watch`", "follow")
    _check(context, upstream)
    from sessiongate.gateway.cli.questions import ask, following, showing

    if not follow:
        ask(showing(ident, links.public_url, form), upstream)
        return
    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ask(following(ident), upstream)


@app.command("blockers", cls=AskingCommand)
@taking
def blockers_command(
    context: typer.Context, *, choice: SessionChoice, upstream: LoginSettings
) -> None:
    """Show which sessions block others, and which wait for them.

    Draws a tree for each session that blocks others and waits for none: below it stand those that
    wait for it, and below them those that wait for these. Each line says since when, as which user
    and application, and through which proxy. The flags choose among the sessions that wait.

    \b
    Example:
      sessiongate blockers
      sessiongate blockers --database orders --min-activity-duration 10s
    """
    _check(context, upstream)
    from sessiongate.gateway.cli.questions import ask, showing_blocked

    ask(showing_blocked(choice), upstream)


@app.command("sources", cls=AskingCommand)
@taking
def sources_command(
    context: typer.Context,
    *,
    upstream: LoginSettings,
    links: LinkSettings,
    output: DocumentOption = "table",
    json: AsJsonOption = False,
) -> None:
    """List the sources of a core and their state.

    If a source cannot be read, the last column says why.

    \b
    Example:
      sessiongate sources --core 127.0.0.1:50051
    """
    _check(context, upstream)
    from sessiongate.gateway.cli.questions import ask, listing_sources

    ask(listing_sources(links.public_url, "json" if json else output), upstream)


@app.command("watch", cls=AskingCommand)
@taking
def watch_command(
    context: typer.Context,
    *,
    choice: SessionChoice,
    order: SessionOrder,
    columns: ColumnChoice,
    upstream: LoginSettings,
) -> None:
    """Show sessions as they come and go, until Ctrl-C.

    Fills the screen of a terminal, to scroll, sort, search and group; its last line shows the
    keys. Otherwise prints one line per change: + for a new session, ~ for a changed one, - for
    one that ended. With flags that choose sessions, one that begins
    to match is new, and one that no longer matches has ended.

    \b
    Example:
      sessiongate watch
      sessiongate watch --user alice --activity active
    """
    _check(context, upstream)
    for name in CLOCK_FLAGS:
        if getattr(choice, name) is not None:
            refuse(context, _NOT_WATCHED, name)
    if not sys.stdout.isatty():
        for name in vars(order):
            if getattr(order, name):
                refuse(context, _NOT_ORDERED, name)
    from sessiongate.gateway.cli.questions import ask, watching

    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # so that the terminal is restored
        ask(watching(choice, order, columns.columns), upstream)


@app.command("check", cls=AskingCommand)
@taking
def check_command(context: typer.Context, *, upstream: LoginSettings) -> None:
    """Check whether a core can answer.

    Exits with 0 if it can, with 1 if it cannot, and with 2 for a bad setting.

    \b
    Example:
      sessiongate check --core 127.0.0.1:50051
    """
    _check(context, upstream)
    from sessiongate.gateway.cli.questions import ask
    from sessiongate.gateway.upstream.client import CoreClient

    ask(CoreClient.check, upstream)
    print(f"the core at {upstream.core_address} is ready")


def _check(context: typer.Context, upstream: LoginSettings) -> None:
    """Refuse settings with which no core can be reached, and name their origin."""
    refuse_cleartext_secrets(
        context, upstream, ("core_token_file", "core_user", "core_password_file")
    )
    for name, text in upstream.core_troubles().items():
        if text:
            refuse(context, text, name)
