"""The configuration file, and the settings that exist."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

import typer
from typer.core import TyperGroup

from sessiongate.gateway.cli.origin import note_file, refuse
from sessiongate.gateway.cli.reporting import report
from sessiongate.runtime.suggestion import did_you_mean, nearest
from sessiongate.runtime.urls import redacted
from sessiongate.runtime.watched_file import FileError, read_handed_over

VARIABLE = "SESSIONGATE_"  # the prefix of variables' names

_CONTENT = "sessiongate.content"  # in a context's `meta`: the content of settings files


def settings(root: object) -> Mapping[str, bool]:
    """Return the names of all commands' settings, and whether each is repeatable."""
    return {
        option.name: option.multiple
        for command in cast(TyperGroup, root).commands.values()
        for option in command.params
        if option.envvar and option.name != "config"
    }


def warn_of_variables(root: object) -> None:
    """Warn of variables that nearly match settings; others may belong to other programs."""
    known = [name.upper() for name in (*settings(root), "config")]
    for variable in sorted(os.environ):
        name = variable.removeprefix(VARIABLE)
        if name != variable and name not in known and (near := nearest(name, known)):
            report(f"warning: {variable} is not a setting; did you mean {VARIABLE}{near[0]}?")


def read_settings(context: typer.Context, file: Path | None) -> Path | None:
    """Make the file's settings the command's defaults."""
    if file is None:
        return None
    try:
        # Cached: a command that collects faults reads the settings repeatedly, a pipe only once.
        content = context.meta.setdefault(_CONTENT, {}).get(file) or read_handed_over(file)
        context.meta[_CONTENT][file] = content
        values = tomllib.loads(content.decode("utf-8-sig"))  # some editors write a BOM first
    except FileError as error:
        raise typer.BadParameter(str(error)) from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is not TOML: it is not UTF-8") from None
    except ValueError as error:
        hint = (
            "a name occurs twice"
            if "overwrite" in str(error)
            else "a line must be NAME = VALUE, with text in quotes"
        )
        raise typer.BadParameter(f"{file} is not TOML: {error}; {hint}") from None
    known = settings(context.find_root().command)
    note_file(context, file)
    own = {option.name for option in context.command.params if option.envvar}
    context.default_map = {
        name: [value] if known[name] and not isinstance(value, list) else value
        for name, value in values.items()
        if name in known and name in own  # a flag of another command may have the same name
    }
    for name, value in values.items():
        if name not in known:
            refuse(context, f"{file}: {_unknown(name, value, known)}", "config")
    return file


def _unknown(name: str, value: object, known: Collection[str]) -> str:
    """Return the error for a key that is not a setting."""
    if isinstance(value, dict):
        return f"[{name}] is not a setting; settings must be at the top level, in no table"
    hint = did_you_mean(name.replace("-", "_"), known) or f"; allowed: {', '.join(sorted(known))}"
    return f"unknown key {redacted(name)}{hint}"
