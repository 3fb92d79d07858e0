"""The command that asks a core who was connected in the past."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

import typer

from sessiongate.gateway.cli.choice import PRESENT_FLAGS, SessionChoice
from sessiongate.gateway.cli.completion import completion
from sessiongate.gateway.cli.groups import reading, taking
from sessiongate.gateway.cli.login import LoginSettings
from sessiongate.gateway.cli.options import (
    DOCUMENT_FORMS,
    AsJsonOption,
    ListingOption,
    check_connection,
    refuse_columns,
    refuse_with_counts,
    session_id,
)
from sessiongate.gateway.cli.origin import refuse
from sessiongate.gateway.cli.past_choice import (
    PastColumnChoice,
    PastCountChoice,
    PastOrder,
    TimeChoice,
)
from sessiongate.gateway.settings import LinkSettings

_NOT_KEPT = (
    "is only for sessions that are connected now: what a session was doing is not kept;"
    " use `sessiongate list`"
)
_ONE = "chooses among several sessions, and ID is one; leave out one of the two"

PastIdArgument = Annotated[
    int | None,
    typer.Argument(
        metavar="ID",
        help="The id of one session; without it, list those that were connected.",
        parser=reading(session_id),
        show_default=False,
        autocompletion=completion("past id"),
    ),
]


@taking
def history_command(
    context: typer.Context,
    ident: PastIdArgument = None,
    *,
    when: TimeChoice,
    choice: SessionChoice,
    order: PastOrder,
    columns: PastColumnChoice,
    count: PastCountChoice,
    upstream: LoginSettings,
    links: LinkSettings,
    output: ListingOption = "table",
    json: AsJsonOption = False,
) -> None:
    """List the sessions that were connected at a time in the past.

    Prints one line per session: who was connected, from where, to what, since when, until when,
    and how it ended; without an end, it is still connected. The last hour is listed unless --at,
    --since or --until name another time, in local time. Lists on standard error what is not
    known of that time, such as when a source could not be read. With ID, shows one session.

    \b
    Example:
      sessiongate history --at 14:05 --service orders-rw
      sessiongate history --since 15m --user alice --sort -ended
      sessiongate history --since '2026-11-26 14:00' --until '2026-11-26 14:30'
      sessiongate history --since 1d --remote 10.0.0.0/8 --output csv
      sessiongate history --at 14:05 --by user,application --limit 10
      sessiongate history 1234
    """
    form = "json" if json else output
    for name in PRESENT_FLAGS:
        if getattr(choice, name) not in (None, ()):
            refuse(context, _NOT_KEPT, name)
    if ident is not None:
        for group in (when, choice, order, columns, count):
            for each in fields(group):
                if getattr(group, each.name) != each.default:
                    refuse(context, _ONE, each.name)
        if form not in DOCUMENT_FORMS:
            allowed = f"{', '.join(DOCUMENT_FORMS[:-1])} or {DOCUMENT_FORMS[-1]}"
            refuse(context, f"must be {allowed} for one session, got {form!r}", "output")
    refuse_columns(context, columns.columns, form)
    if count.by:
        refuse_with_counts(context, sort=order.sort, columns=columns.columns)
    check_connection(context, upstream)
    from sessiongate.gateway.cli.past_sessions import counting_past, listing_past, showing_past
    from sessiongate.gateway.cli.questions import ask

    if ident is not None:
        ask(showing_past(ident, links.public_url, form), upstream)
        return
    if count.by:
        ask(counting_past(choice, when, count.by, order.limit, form), upstream)
        return
    ask(listing_past(choice, when, order, columns.columns, links.public_url, form), upstream)
