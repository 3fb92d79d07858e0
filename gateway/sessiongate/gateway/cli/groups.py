"""Gives commands the options that their groups of settings declare: see `runtime.settings`.

Each setting has a flag, a variable, and a key in the file (`gateway.cli.settings_file`), which
becomes click's ``default_map``: all three are read and refused by the same code. What belongs to
one call of a command has only a flag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from sessiongate.gateway.cli.completion import completion
from sessiongate.gateway.cli.origin import given_as_flag, refuse, refuse_by
from sessiongate.gateway.cli.settings_file import VARIABLE, read_settings
from sessiongate.runtime.settings import Setting, settings_of, text
from sessiongate.runtime.urls import Url, UrlError, harmless
from sessiongate.runtime.watched_file import read_file, trouble

_T = TypeVar("_T")

# The titles under which the help shows groups' settings, by the parameters that take them.
_TITLES = {
    "protection": "TLS and credentials",
    "choice": "Which sessions",
    "how": "How",
    "when": "When",
    "upstream": "Connection to a core",
    "limits": "Limits of the gateway",
    "core_limits": "Limits of the core",
    "logs": "Logs",
}


def taking(command: Callable[..., _T]) -> Callable[..., _T]:
    """Give a command the options of those of its parameters that are groups, and ``--config``."""
    own = signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {
        name: each.annotation for name, each in own.items() if is_dataclass(each.annotation)
    }

    @wraps(command)
    def called(context: typer.Context, config: Path | None, **values: Any) -> _T:
        made = {
            name: _made(context, group, {key: values.pop(key) for key in settings_of(group)})
            for name, group in groups.items()
        }
        return command(context, **values, **made)

    parameters: list[Parameter] = []
    for known in own.values():
        group = groups.get(known.name)
        parameters += _options(group, _TITLES.get(known.name)) if group else [known]
    return _with_parameters(called, [*parameters, _parameter("config", None, _CONFIG)])


def with_options_of(
    reader: Callable[..., _T],
) -> Callable[[Callable[[typer.Context, _T], None]], Callable[..., None]]:
    """Give a command the options of a function; it receives what the function returns."""

    def decorate(command: Callable[[typer.Context, _T], None]) -> Callable[..., None]:
        @wraps(command)
        def called(context: typer.Context, **values: Any) -> None:
            command(context, reader(context, **values))

        return _with_parameters(called, list(signature(reader).parameters.values()))

    return decorate


def _with_parameters(function: Callable[..., _T], parameters: list[Parameter]) -> Callable[..., _T]:
    """Let Typer see these parameters of a function."""
    function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    return function


def _made(context: typer.Context, group: type[Any], values: dict[str, Any]) -> Any:
    """Make a group with these values, except those that are refused."""
    many = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    try:
        return group(**values | many)
    except ValueError as error:
        refuse_by(context, error)
        refused = str(error).partition(": ")[0]
        is_file = settings_of(group)[refused].metavar == "FILE"  # that may be wrong too
        if is_file and (text := trouble(read_file, Path(values[refused]))):
            refuse(context, text, refused)
        return _made(context, group, {key: values[key] for key in values if key != refused})


def _options(group: type[Any], title: str | None) -> Iterator[Parameter]:
    for name, setting in settings_of(group).items():
        details: dict[str, Any] = {"parser": reading(setting.read), "rich_help_panel": title}
        if setting.find_default is not None:
            details["default_factory"] = setting.find_default
            details["show_default"] = setting.default_help
        if setting.may_hold_password:
            details["callback"] = _refuse_password
        if setting.is_flag_only:
            details["envvar"] = None
            details["autocompletion"] = completion(name)
        found = _option(name, setting.help, setting.metavar, **details)
        yield _parameter(name, _default(setting), found, _kind(setting))


def _default(setting: Setting) -> Any:
    """Return a setting's default as an option's."""
    if setting.find_default is not None:
        return Parameter.empty
    if setting.is_repeatable:
        return list(setting.default)
    if isinstance(setting.default, bool) and setting.metavar:
        return "on" if setting.default else "off"
    return setting.default


def _kind(setting: Setting) -> Any:
    """Return the annotation that makes Typer take a flag, many values, or one."""
    if setting.is_repeatable:
        return list[Any]
    return Any if setting.metavar else bool


def _parameter(name: str, default: Any, option: Any, kind: Any = Any) -> Parameter:
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _option(name: str, help: str, metavar: str | None, **details: Any) -> Any:
    flag = "--" + name.replace("_", "-")
    details = {"envvar": VARIABLE + name.upper(), **details}
    return typer.Option(flag, help=help, metavar=metavar, **details)


def reading(reader: Callable[[object], Any]) -> Callable[[object], Any]:
    """Make a parser for an option from a reader that raises `ValueError`."""

    def read(value: object) -> Any:
        try:
            return reader(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return read


def _refuse_password(context: typer.Context, option: typer.CallbackParam, value: Any) -> Any:
    urls = value if isinstance(value, list) else [value]
    if given_as_flag(context, option.name) and any(map(has_password, urls)):
        advice = f"put the URL in the --config file or in {option.envvar}"
        if option.name == "source":
            advice += ", or the password in a file and its path in password_file=PATH"
        raise typer.BadParameter(
            f"every user of this machine can read a password on the command line: {advice}"
        )
    return value


def has_password(url: str) -> bool:
    """Return whether a URL holds a password: beside its user, or in an option."""
    try:
        return Url.parse(url).has_password
    except UrlError:  # reported when the URL is read
        return not harmless(url)


_CONFIG = _option(
    "config",
    "Read settings from this TOML file.",
    "FILE",
    is_eager=True,
    parser=reading(lambda value: Path(text(value))),  # click's own would access the file
    callback=read_settings,
)
