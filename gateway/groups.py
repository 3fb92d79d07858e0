"""Options that are settings, one by one or in groups: see `runtime.settings`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_type_hints

import typer

from runtime.settings import Setting, settings_of

# Under which title the help shows a group's settings.
_TITLES = {
    "protection": "TLS and credentials",
    "core_trust": "TLS with a core elsewhere",
    "limits": "Limits of the gateway",
    "core_limits": "Limits of the core",
    "logs": "Logs",
}


def option(flag: str, help: str, metavar: str | None = None, **details: Any) -> Any:
    """An option that is a setting: it has a variable, and a key in the file."""
    variable = "SESSIONGATE_" + flag.removeprefix("--").replace("-", "_").upper()
    return typer.Option(flag, envvar=variable, help=help, metavar=metavar, **details)


def taking(**groups: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the settings of groups as options; it gets each group whole, by its name."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(**values: Any) -> None:
            made = {}
            for name, group in groups.items():
                own = {key: values.pop(key) for key in settings_of(group)}
                try:
                    made[name] = group(**own)
                except ValueError as error:
                    raise typer.BadParameter(str(error)) from None
            command(**values, **made)

        parameters: list[Parameter] = []
        for known in signature(command, eval_str=True).parameters.values():
            group = groups.get(known.name)
            parameters += _parameters(group, _TITLES[known.name]) if group else [known]
        called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorate


def _parameters(group: type[Any], title: str) -> Iterator[Parameter]:
    hints = get_type_hints(group)
    for each in fields(group):
        told: Setting = each.metadata["setting"]
        flag = "--" + each.name.replace("_", "-")
        found = option(flag, told.help, told.metavar, parser=_reader(told), rich_help_panel=title)
        yield Parameter(
            each.name,
            Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=Annotated[hints[each.name], found],
        )


def _reader(told: Setting) -> Callable[[object], Any]:
    def read(value: object) -> Any:
        try:
            return told.read(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return read
