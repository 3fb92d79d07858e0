"""Options that are settings, one by one or in groups: see `runtime.settings`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from sessiongate.gateway.cli.origin import refuse, refuse_by
from sessiongate.runtime.settings import Setting, settings_of
from sessiongate.runtime.watched_file import read_file, trouble

_T = TypeVar("_T")

VARIABLE = "SESSIONGATE_"  # the prefix of variables' names

# The titles under which the help shows the groups' settings.
_TITLES = {
    "protection": "TLS and credentials",
    "core_trust": "TLS with a core elsewhere",
    "limits": "Limits of the gateway",
    "core_limits": "Limits of the core",
    "logs": "Logs",
}


def option(flag: str, help: str, metavar: str | None = None, **details: Any) -> Any:
    """Declare an option that is a setting: it has a variable, and a key in the file."""
    variable = VARIABLE + flag.removeprefix("--").replace("-", "_").upper()
    return typer.Option(flag, envvar=variable, help=help, metavar=metavar, **details)


def taking(**groups: type[Any]) -> Callable[[Callable[..., _T]], Callable[..., _T]]:
    """Give a command the settings of groups as options; it receives each group whole, by name."""

    def decorate(command: Callable[..., _T]) -> Callable[..., _T]:
        @wraps(command)
        def called(context: typer.Context, **values: Any) -> _T:
            made = {
                name: _made(context, group, {key: values.pop(key) for key in settings_of(group)})
                for name, group in groups.items()
            }
            return command(context, **values, **made)

        parameters: list[Parameter] = []
        for known in signature(command, eval_str=True).parameters.values():
            group = groups.get(known.name)
            parameters += _parameters(group, _TITLES[known.name]) if group else [known]
        called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorate


def _made(context: typer.Context, group: type[Any], values: dict[str, Any]) -> Any:
    """Make a group with these values, except those that are refused."""
    try:
        return group(**values)
    except ValueError as error:
        refuse_by(context, error)
        refused = str(error).partition(": ")[0]
        is_file = settings_of(group)[refused].metavar == "FILE"  # that may be wrong too
        if is_file and (text := trouble(read_file, Path(values[refused]))):
            refuse(context, text, refused)
        return _made(context, group, {key: values[key] for key in values if key != refused})


def with_options_of(
    reader: Callable[..., _T],
) -> Callable[[Callable[[typer.Context, _T], None]], Callable[..., None]]:
    """Give a command the options of a function; it receives what the function returns."""

    def decorate(command: Callable[[typer.Context, _T], None]) -> Callable[..., None]:
        @wraps(command)
        def called(context: typer.Context, **values: Any) -> None:
            command(context, reader(context, **values))

        parameters = list(signature(reader).parameters.values())
        called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorate


def _parameters(group: type[Any], title: str) -> Iterator[Parameter]:
    hints = get_type_hints(group)
    for each in fields(group):
        told: Setting = each.metadata["setting"]
        flag = "--" + each.name.replace("_", "-")
        found = option(
            flag, told.help, told.metavar, parser=reading(told.read), rich_help_panel=title
        )
        yield Parameter(
            each.name,
            Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=Annotated[hints[each.name], found],
        )


def reading(reader: Callable[[object], Any]) -> Callable[[object], Any]:
    """Make a parser for an option from a reader that raises `ValueError`."""

    def read(value: object) -> Any:
        try:
            return reader(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return read
