"""What a command says on standard error, and how it ends."""

from __future__ import annotations

from typing import NoReturn

import typer


def report(text: str) -> None:
    """Say on standard error what happens."""
    typer.echo(f"sessiongate: {text}", err=True)


def fail(text: str, code: int = 1) -> NoReturn:
    """Say why, and end the command."""
    report(text)
    raise typer.Exit(code)
