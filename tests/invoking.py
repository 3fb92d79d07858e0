"""The command, run within the process of a test rather than in one of its own."""

from __future__ import annotations

import functools
import os
from subprocess import CompletedProcess

import typer.testing
from typer.testing import CliRunner, Result

from sessiongate.gateway.cli.main import app
from tests.program import environment

# Typer makes all commands with all their options for each call: nearly all that a call costs.
# Only `check-config` changes what was made: it sets faults aside. Do not call it here.
typer.testing._get_command = functools.cache(typer.testing._get_command)  # type: ignore[attr-defined]


def invoke(*arguments: str, **environment: str | None) -> Result:
    """Run the command, with changes of the environment; it must start nothing."""
    return CliRunner().invoke(app, arguments, prog_name="sessiongate", env=environment)


def run_here(*arguments: object) -> CompletedProcess[str]:
    """Run the command within this process, as `tests.program.run` does in another one.

    It must start nothing. It has this process's time zone.
    """
    typed = [*map(str, arguments)]
    changed: dict[str, str | None] = {**dict.fromkeys(os.environ), **environment()}
    done = invoke(*typed, **changed)
    return CompletedProcess(typed, done.exit_code, done.stdout, done.stderr)
