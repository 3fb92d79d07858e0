"""The configuration file, and the settings that exist."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import typer
from typer.core import TyperGroup

from sessiongate.gateway.cli.origin import note_file, refuse
from sessiongate.gateway.cli.reporting import report
from sessiongate.runtime.suggestion import did_you_mean, nearest
from sessiongate.runtime.urls import redacted
from sessiongate.runtime.watched_file import FileError, read_handed_over

VARIABLE = "SESSIONGATE_"  # the prefix of variables' names

SYSTEM_FILE = Path("/etc/sessiongate/sessiongate.toml")

_DEFAULT = "the default file"  # which errors name instead of --config

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
    """Make the file's settings the command's defaults; without one, those of default files."""
    if file is not None:
        _add_settings(context, file, "config")
    elif getattr(context.command, "reads_default_files", False):
        for default in _default_files():
            if os.access(default, os.R_OK):
                _add_settings(context, default)
    return file


def _default_files() -> Iterator[Path]:
    """Yield the files whose settings a command that asks a core reads; later ones override."""
    yield SYSTEM_FILE
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if not home.startswith("/"):
        home = os.path.expanduser("~/.config")
    yield Path(home, "sessiongate/config.toml")


def _add_settings(context: typer.Context, file: Path, origin: str | None = None) -> None:
    """Add a file's settings to the command's defaults; ``origin`` is the setting that names it."""
    try:
        values = _read(context, file)
    except FileError as error:
        raise typer.BadParameter(str(error), param_hint=None if origin else _DEFAULT) from None
    known = settings(context.find_root().command)
    own = {option.name for option in context.command.params if option.envvar}
    found = {
        name: [value] if known[name] and not isinstance(value, list) else value
        for name, value in values.items()
        if name in known and name in own  # a flag of another command may have the same name
    }
    note_file(context, file, found)
    context.default_map = {**(context.default_map or {}), **found}
    for key, value in values.items():
        if key not in known:
            text = f"{file}: {_unknown(key, value, known)}"
            if origin is None:
                raise typer.BadParameter(text, param_hint=_DEFAULT)
            refuse(context, text, origin)


def _read(context: typer.Context, file: Path) -> Mapping[str, Any]:
    """Return a file's settings. Raises `FileError`."""
    # Cached: a command that collects faults reads the settings repeatedly, a pipe only once.
    content = context.meta.setdefault(_CONTENT, {}).get(file) or read_handed_over(file)
    context.meta[_CONTENT][file] = content
    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # some editors write a BOM first
    except UnicodeDecodeError:
        raise FileError(f"{file} is not TOML: it is not UTF-8") from None
    except ValueError as error:
        hint = (
            "a name occurs twice"
            if "overwrite" in str(error)
            else "a line must be NAME = VALUE, with text in quotes"
        )
        raise FileError(f"{file} is not TOML: {error}; {hint}") from None


def _unknown(name: str, value: object, known: Collection[str]) -> str:
    """Return the error for a key that is not a setting."""
    if isinstance(value, dict):
        return f"[{name}] is not a setting; settings must be at the top level, in no table"
    hint = did_you_mean(name.replace("-", "_"), known) or f"; allowed: {', '.join(sorted(known))}"
    return f"unknown key {redacted(name)}{hint}"
