"""What a command writes to standard error, and how it ends."""

from __future__ import annotations

from typing import NoReturn

import typer

from sessiongate.runtime.telemetry.logs import escaped


def report(text: str) -> None:
    """Report on standard error; escape what others sent that would command a terminal."""
    lines = "\n".join(map(escaped, text.split("\n")))
    typer.echo(f"sessiongate: {lines}", err=True)


def fail(text: str, code: int = 1) -> NoReturn:
    """Report why, and end the command."""
    report(text)
    raise typer.Exit(code)
