"""Finds where a command's settings come from, and refuses them by that name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import typer

# In a context's `meta`: the faults so far, if a command gathers them, and the files of settings.
_FAULTS = "sessiongate.faults"
_FILES = "sessiongate.files"
_FLAG = re.compile("--[a-z][a-z-]*[a-z]")


def given_as_flag(context: typer.Context, name: str) -> bool:
    """Return whether an option's value comes from the command line itself."""
    return _origin(context, name) == "COMMANDLINE"


def is_given(context: typer.Context, name: str) -> bool:
    """Return whether an option has a value from anywhere but its default."""
    return _origin(context, name) not in (None, "DEFAULT")


def place(context: typer.Context, name: str) -> str:
    """Return where a parameter's value comes from, for an error: flag, variable or file's key."""
    parameter = next(known for known in context.command.params if known.name == name)
    match _origin(context, name):
        case "ENVIRONMENT":
            return str(parameter.envvar)
        case "DEFAULT_MAP":
            return f"{name!r} in {context.meta[_FILES][name]}"
        case _ if parameter.param_type_name == "argument":
            return str(parameter.metavar)
        case _:
            return parameter.opts[0]


def origins(context: typer.Context, *names: str) -> dict[str, str]:
    """Return where the values of some parameters come from, for code without this context."""
    return {name: place(context, name) for name in names}


def note_file(context: typer.Context, file: object, names: Iterable[str]) -> None:
    """Remember which file holds these settings."""
    context.meta.setdefault(_FILES, {}).update(dict.fromkeys(names, file))


def gather(context: typer.Context) -> list[typer.BadParameter]:
    """From now on, add faults to the returned list instead of ending the command."""
    found: list[typer.BadParameter] = context.meta.setdefault(_FAULTS, [])
    return found


def refuse(context: typer.Context, text: str, name: str | None = None) -> None:
    """End the command with an error about a setting, or gather the error."""
    hint = place(context, name) if name else None
    if name:
        text = _FLAG.sub(lambda flag: _as_given(context, flag[0], name), text)
    _refuse(context, typer.BadParameter(text, param_hint=hint))


def refuse_by(context: typer.Context, error: ValueError) -> None:
    """Refuse a setting because of an error whose text begins with its name, as ``name: text``."""
    name, _, text = str(error).partition(": ")
    if any(parameter.name == name for parameter in context.command.params):
        refuse(context, text, name)
    else:
        refuse(context, str(error))


def _as_given(context: typer.Context, flag: str, name: str) -> str:
    """Return a flag, or its counterpart in the place that the setting of this name came from."""
    for parameter in context.command.params:
        if flag in parameter.opts and getattr(parameter, "envvar", None):
            match _origin(context, name):
                case "ENVIRONMENT":
                    return str(parameter.envvar)
                case "DEFAULT_MAP":
                    return repr(parameter.name)
    return flag


def _refuse(context: typer.Context, fault: typer.BadParameter) -> None:
    gathered = context.meta.get(_FAULTS)
    if gathered is None:
        raise fault
    gathered.append(fault)


def _origin(context: Any, name: str) -> str | None:
    source = context.get_parameter_source(name)
    return source.name if source else None
