"""The command, run within the process of a test rather than in one of its own."""

from __future__ import annotations

import functools

import typer.testing
from typer.testing import CliRunner, Result

from sessiongate.gateway.cli.main import app

# Typer makes all commands with all their options for each call: nearly all that a call costs.
# Only `check-config` changes what was made: it sets faults aside. Do not call it here.
typer.testing._get_command = functools.cache(typer.testing._get_command)  # type: ignore[attr-defined]


def invoke(*arguments: str, **environment: str | None) -> Result:
    """Run the command, with changes of the environment; it must start nothing."""
    return CliRunner().invoke(app, arguments, prog_name="sessiongate", env=environment)
