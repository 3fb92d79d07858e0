"""What a command says on standard error, and how it ends."""

from __future__ import annotations

from typing import NoReturn

import typer

from sessiongate.runtime.telemetry.logs import escaped


def report(text: str) -> None:
    """Say on standard error what happens; of what others sent, nothing commands a terminal."""
    lines = "\n".join(map(escaped, text.split("\n")))
    typer.echo(f"sessiongate: {lines}", err=True)


def fail(text: str, code: int = 1) -> NoReturn:
    """Say why, and end the command."""
    report(text)
    raise typer.Exit(code)
