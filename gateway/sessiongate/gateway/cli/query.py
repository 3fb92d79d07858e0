"""The commands that ask a core for what REST shows."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

import typer

from sessiongate.gateway.cli.acting import cancel_command, terminate_command
from sessiongate.gateway.cli.choice import (
    CLOCK_FLAGS,
    PRESENT_FLAGS,
    ColumnChoice,
    CountChoice,
    SessionChoice,
    SessionOrder,
)
from sessiongate.gateway.cli.command import AskingCommand, asking_except
from sessiongate.gateway.cli.groups import taking
from sessiongate.gateway.cli.history import history_command
from sessiongate.gateway.cli.login import LoginSettings
from sessiongate.gateway.cli.options import (
    AsJsonOption,
    DocumentOption,
    FollowOption,
    ListingOption,
    SessionIdArgument,
    check_connection,
    refuse_columns,
    refuse_with_counts,
)
from sessiongate.gateway.cli.origin import refuse
from sessiongate.gateway.settings import LinkSettings

app = typer.Typer()


_NOT_WATCHED = (
    "cannot be watched: as time passes, sessions begin to match without any change of theirs;"
    " use `sessiongate list`"
)
_NOT_ORDERED = (
    "is only for the table at a terminal: here, a line for each change is printed as it happens;"
    " use `sessiongate list`"
)


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
    refuse_columns(context, columns.columns, form)
    if count.by:
        refuse_with_counts(context, sort=order.sort, columns=columns.columns)
    check_connection(context, upstream)
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

    ID is the first number on the session's line in `sessiongate list`. Below its attributes, it
    shows the chain from the client through proxies to servers, and which sessions block which.
    Ctrl-C ends --follow.

    \b
    Example:
      sessiongate show 3
      sessiongate show 3 --follow
    """
    form = "json" if json else output
    if follow and form != "table":
        refuse(context, f"is only for the table, not for {form}; use `sessiongate watch`", "follow")
    check_connection(context, upstream)
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

    Draws a tree for each session that blocks others and waits for none: below it, those that
    wait for it, and below them, those that wait for these. Each line says since when, as which user
    and application, and through which proxy. The flags choose among the sessions that wait.

    \b
    Example:
      sessiongate blockers
      sessiongate blockers --database orders --min-activity-duration 10s
    """
    check_connection(context, upstream)
    from sessiongate.gateway.cli.questions import ask, showing_blocked

    ask(showing_blocked(choice), upstream)


app.command("terminate", cls=AskingCommand)(terminate_command)
app.command("cancel", cls=AskingCommand)(cancel_command)
app.command("history", cls=asking_except(*PRESENT_FLAGS))(history_command)


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
    check_connection(context, upstream)
    from sessiongate.gateway.cli.questions import ask, listing_sources

    ask(listing_sources(links.public_url, "json" if json else output), upstream)


@app.command("watch", cls=asking_except(*CLOCK_FLAGS))
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
    check_connection(context, upstream)
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
    check_connection(context, upstream)
    from sessiongate.gateway.cli.questions import ask
    from sessiongate.gateway.upstream.client import CoreClient

    ask(CoreClient.check, upstream)
    print(f"{upstream.core_named} is ready")
