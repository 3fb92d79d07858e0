"""The commands about a fleet of cores: who is in it, and forgetting one that has ended."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sessiongate.gateway.cli.command import AskingCommand, Command, CommandGroup
from sessiongate.gateway.cli.groups import taking
from sessiongate.gateway.cli.login import LoginSettings
from sessiongate.gateway.cli.options import check_connection
from sessiongate.gateway.cli.reporting import fail
from sessiongate.gateway.cli.supervisor import keep_ledger
from sessiongate.runtime.core_settings import LedgerSettings
from sessiongate.runtime.settings import given
from sessiongate.runtime.telemetry.logs import escaped

_DEFAULT = "show"


class _FleetGroup(CommandGroup):
    """Without a command, shows the fleet."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_FleetGroup,
    help="""Show a fleet of cores, or forget one that has ended.

    Without a command, it shows the fleet.

    \b
    Example:
      sessiongate fleet --core 127.0.0.1:50051""",
)

MemberArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a core or front.", show_default=False)
]


@app.command(_DEFAULT, cls=AskingCommand)
@taking
def fleet_command(context: typer.Context, *, upstream: LoginSettings) -> None:
    """Show the shards, their cores, and the fronts.

    The core that is asked must be a front: `sessiongate core --fleet`. Faults of shards are
    listed below the table.

    \b
    Example:
      sessiongate fleet --core 127.0.0.1:50051
    """
    check_connection(context, upstream)
    from sessiongate.gateway.cli.questions import ask, showing_fleet

    ask(showing_fleet(), upstream)


@app.command("forget", cls=Command)
@taking
def forget_command(context: typer.Context, name: MemberArgument, *, ledger: LedgerSettings) -> None:
    """Forget a core or a front that will not come back.

    It must have ended. If it starts again, it is in the fleet as before.

    \b
    Example:
      sessiongate fleet forget core-a --ledger postgresql://app@db/sessiongate
    """
    _, fault = keep_ledger("forget", {**given(ledger), "name": name})
    if fault:
        fail(fault)
    typer.echo(escaped(f"forgot {name}"))
