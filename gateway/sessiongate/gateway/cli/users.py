"""The commands that manage the file of users."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from sessiongate.gateway.cli.command import Command, CommandGroup
from sessiongate.gateway.cli.reporting import fail
from sessiongate.runtime.auth.htpasswd import add_user, name_trouble, read_users, remove_user
from sessiongate.runtime.watched_file import FileError

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="""Manage the file of users.

    `sessiongate serve --users FILE` accepts them. An entry is a name and a password's bcrypt hash.

    \b
    Example:
      sessiongate users add alice --users /etc/sessiongate/users""",
)

UserNameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The user's name.", show_default=False)
]
UsersFileArgument = Annotated[
    Path,
    typer.Option(
        "--users",
        envvar="SESSIONGATE_USERS",
        help="The htpasswd file; it is created if it does not exist.",
        metavar="FILE",
        show_default=False,
    ),
]


@app.command(cls=Command)
def add(name: UserNameArgument, *, users: UsersFileArgument) -> None:
    """Add a user or change a user's password.

    Prompts for the password twice; if standard input is not a terminal, reads its first line.

    \b
    Example:
      sessiongate users add alice --users /etc/sessiongate/users
    """
    if trouble := name_trouble(name):
        raise typer.BadParameter(f"{name!r}: {trouble}", param_hint="NAME")
    try:
        is_new = add_user(users, name, _password())
    except FileError as error:
        fail(str(error))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"{'added' if is_new else 'changed'} {name}")


@app.command("list", cls=Command)
def list_users(*, users: UsersFileArgument) -> None:
    """List the users, in the order of the file.

    \b
    Example:
      sessiongate users list --users /etc/sessiongate/users
    """
    try:
        names = [*read_users(users)]
    except FileError as error:
        fail(str(error))
    for name in names:
        typer.echo(name)


@app.command(cls=Command)
def remove(name: UserNameArgument, *, users: UsersFileArgument) -> None:
    """Remove a user, who then no longer has access.

    \b
    Example:
      sessiongate users remove alice --users /etc/sessiongate/users
    """
    try:
        is_gone = remove_user(users, name)
    except FileError as error:
        fail(str(error))
    if not is_gone:
        fail(f"no user {name!r} in {users}")
    typer.echo(f"removed {name}")


def _password() -> str:
    if sys.stdin.isatty():
        # The prompt hides typed characters: Ctrl-C must end that too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return answer
    return sys.stdin.readline().rstrip("\r\n")
