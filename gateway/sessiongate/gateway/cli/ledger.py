"""The commands that maintain the ledger's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sessiongate.gateway.cli.command import Command, CommandGroup
from sessiongate.gateway.cli.groups import has_password, taking
from sessiongate.gateway.cli.reporting import fail
from sessiongate.gateway.cli.supervisor import keep_ledger
from sessiongate.runtime.core_settings import LedgerSettings
from sessiongate.runtime.settings import given
from sessiongate.runtime.telemetry.logs import escaped

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="""Back up the ledger, copy it, rename sources, and more.

    The ledger stores session ids and history: in a file, or in PostgreSQL.

    \b
    Example:
      sessiongate ledger backup /var/backups/sessiongate.db""",
)

BackupFileArgument = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="Path of the copy; it must not exist.", show_default=False),
]

OldNameArgument = Annotated[
    str, typer.Argument(metavar="OLD", help="Current name.", show_default=False)
]
NewNameArgument = Annotated[
    str, typer.Argument(metavar="NEW", help="New name.", show_default=False)
]


CopyArgument = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="Ledger to copy to: postgresql://USER@HOST:PORT/DATABASE.",
        show_default=False,
    ),
]


@app.command(cls=Command)
@taking
def backup(context: typer.Context, file: BackupFileArgument, *, ledger: LedgerSettings) -> None:
    """Copy the ledger to a new file, even while a core is running.

    A plain copy of the file would lack the contents of its write-ahead log.

    \b
    Example:
      sessiongate ledger backup /var/backups/sessiongate.db
    """
    _keep("backup", ledger, file=str(file.absolute()))
    typer.echo(f"copied the ledger to {file}")


@app.command(cls=Command)
@taking
def rename(
    context: typer.Context, old: OldNameArgument, new: NewNameArgument, *, ledger: LedgerSettings
) -> None:
    """Rename a source; its sessions keep their ids.

    If another source has the new name, the two exchange names. Stop the core first.

    \b
    Example:
      sessiongate ledger rename pg-1 orders
    """
    _keep("rename", ledger, old=old, new=new)
    typer.echo(escaped(f"renamed {old} to {new}"))


@app.command(cls=Command)
@taking
def copy(context: typer.Context, to: CopyArgument, *, ledger: LedgerSettings) -> None:
    """Copy the ledger to PostgreSQL, which replaces it.

    Copies ids, history and the state of sources, then marks the file as moved, so that a core
    refuses it. Stop the core first. If the copy is interrupted, run it again.

    \b
    Example:
      sessiongate ledger copy 'postgresql://app@db?password_file=/etc/ledger.pw'
    """
    if has_password(to):
        fail(
            "every user of this machine can read a password on the command line: put it in a file,"
            " and its path in password_file=PATH"
        )
    sessions = _keep("copy", ledger, to=to, shows_progress=True)
    typer.echo(f"copied {int(sessions):,} sessions; start the core with --ledger and that URL")


@app.command(cls=Command)
@taking
def restored(context: typer.Context, *, ledger: LedgerSettings) -> None:
    """Record that the ledger's disk was restored to an older state.

    The next start then assigns ids from the clock upwards, so that no id is assigned twice. Not
    needed if the ledger's file or its folder was copied back: a core notices that. Stop the core
    first.

    \b
    Example:
      sessiongate ledger restored --ledger sqlite:////var/lib/ledger.db
    """
    _keep("restored", ledger)
    typer.echo("ids will continue from the clock at the next start")


def _keep(
    action: str, ledger: LedgerSettings, *, shows_progress: bool = False, **settings: str
) -> str:
    result, fault = keep_ledger(
        action, {**given(ledger), **settings}, shows_progress=shows_progress
    )
    if fault:
        fail(fault)
    return result
