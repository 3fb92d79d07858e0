"""The commands that end sessions, and cancel what they run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from sessiongate.gateway.cli.choice import SessionChoice
from sessiongate.gateway.cli.completion import completion
from sessiongate.gateway.cli.groups import reading, taking
from sessiongate.gateway.cli.login import LoginSettings
from sessiongate.gateway.cli.options import check_connection, session_id
from sessiongate.gateway.cli.origin import refuse
from sessiongate.runtime.settings import duration, integer_from, setting, switch

_MAX_GRACE = 3600.0  # seconds; the contract's

SessionIdsArgument = Annotated[
    list[int] | None,
    typer.Argument(
        metavar="ID",
        help="The ids of the sessions.",
        parser=reading(session_id),
        show_default=False,
        autocompletion=completion("id"),
    ),
]


def _grace(value: object) -> float:
    """Read a grace."""
    seconds = duration(value)
    if seconds > _MAX_GRACE:
        raise ValueError("must be a duration of at most 1h, such as 30s or 5m")
    return seconds


@dataclass(frozen=True)
class ActionChoice:
    """The flags that say how to act on several sessions."""

    expect: int | None = setting(
        None,
        integer_from(1),
        "Act on the sessions that the other flags choose only if there are this many.",
        "N",
        is_flag_only=True,
    )
    yes: bool = setting(False, switch, "Do not ask whether to go on.", is_flag_only=True)


@dataclass(frozen=True)
class EndingChoice:
    """The flags that say what else to end, and when."""

    chain: bool = setting(
        False,
        switch,
        "Also end the same connections at other tiers, the proxies' first.",
        is_flag_only=True,
    )
    grace: float | None = setting(
        None, _grace, "End the sessions only after this time.", "DURATION", is_flag_only=True
    )


@taking
def terminate_command(
    context: typer.Context,
    idents: SessionIdsArgument = None,
    *,
    choice: SessionChoice,
    how: ActionChoice,
    ending: EndingChoice,
    upstream: LoginSettings,
) -> None:
    """End sessions: disconnect their clients.

    Shows the sessions and asks before it ends them. Choose them by their ids, or by flags together
    with --expect and their number. A session that another one has replaced by then, or whose user,
    client, service or database has changed, is not ended. The source's configuration and your role
    must allow it.

    \b
    Example:
      sessiongate terminate 17
      sessiongate terminate --user etl --activity 'idle in transaction' --expect 3
      sessiongate terminate 17 --chain
    """
    _check(context, idents, choice, how)
    check_connection(context, upstream)
    from sessiongate.gateway.cli.acts import terminating
    from sessiongate.gateway.cli.questions import ask

    ask(terminating(idents or (), choice, how, ending), upstream)


@taking
def cancel_command(
    context: typer.Context,
    idents: SessionIdsArgument = None,
    *,
    choice: SessionChoice,
    how: ActionChoice,
    upstream: LoginSettings,
) -> None:
    """Cancel what sessions run; their clients stay connected.

    Shows the sessions and asks before it cancels. Choose them by their ids, or by flags together
    with --expect and their number. A session that has begun something else by then is left alone.

    \b
    Example:
      sessiongate cancel 17
      sessiongate cancel --application report --expect 3
    """
    _check(context, idents, choice, how)
    check_connection(context, upstream)
    from sessiongate.gateway.cli.acts import cancelling
    from sessiongate.gateway.cli.questions import ask

    ask(cancelling(idents or (), choice, how), upstream)


def _check(
    context: typer.Context, idents: list[int] | None, choice: SessionChoice, how: ActionChoice
) -> None:
    """Refuse to act on what is not clear."""
    chosen = [name for name, value in vars(choice).items() if value not in (None, ())]
    if idents and chosen:
        refuse(context, "cannot be combined with ids; leave out one of the two", chosen[0])
    if idents and how.expect is not None:
        refuse(context, "is only for flags that choose sessions", "expect")
    if not idents and not chosen:
        refuse(context, "name sessions by their ids, or choose them by flags and --expect")
    if chosen and how.expect is None:
        text = "requires --expect N: the number of sessions, as `sessiongate list` shows them"
        refuse(context, text, chosen[0])
    if not how.yes and not sys.stdin.isatty():
        refuse(context, "is required: no terminal can be asked", "yes")
