"""Messages of a command on standard error, and its failure."""

from __future__ import annotations

from typing import NoReturn

import typer

from sessiongate.runtime.telemetry.logs import escaped


def report(text: str) -> None:
    """Report on standard error; escape anything that would control a terminal."""
    lines = "\n".join(map(escaped, text.split("\n")))
    typer.echo(f"sessiongate: {lines}", err=True)


def fail(text: str, code: int = 1) -> NoReturn:
    """Report an error, and end the command."""
    report(text)
    raise typer.Exit(code)
