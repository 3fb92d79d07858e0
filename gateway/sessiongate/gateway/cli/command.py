"""Commands that read arguments, explain errors in them, and show help."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from sessiongate.gateway.cli.origin import gather, place
from sessiongate.runtime.suggestion import did_you_mean
from sessiongate.runtime.urls import harmless

_PLAIN = re.compile(r"\([\w. -]+\)$")  # after the text of an error: what it is about

# Some settings by their names in other programs.
_OTHERWISE = {
    **dict.fromkeys(("--address", "--bind", "--host", "--listen", "--port"), "--http"),
    **dict.fromkeys(("--debug", "--verbose"), "--log-level"),
}


def help_sections(context: Any) -> dict[str, list[tuple[Any, tuple[str, str]]]]:
    """Return what the help shows of a command's parameters, by their titles.

    With each parameter is how it is written, and its text.
    """
    sections: dict[str, list[tuple[Any, tuple[str, str]]]] = {"Arguments": [], "Options": []}
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record and parameter.name not in getattr(context.command, "refused", ()):
            title = getattr(parameter, "rich_help_panel", None)
            if parameter.param_type_name == "argument":
                title = "Arguments"
            sections.setdefault(title or "Options", []).append((parameter, record))
    return {title: entries for title, entries in sections.items() if entries}


class Command(TyperCommand):
    """A command whose errors name the origin of a value: flag, variable or file.

    Its help groups related options under titles.
    """

    reads_default_files = False
    refused: Collection[str] = ()  # parameters that are taken only to refuse them, with a reason

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = [*args]
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            _put_place(ctx, error)
            raise
        except typer.TyperException as error:
            _explain(ctx, error, given)
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, entries in help_sections(ctx).items():
            with formatter.section(title):
                formatter.write_dl([record for _, record in entries])


class AskingCommand(Command):
    """A command that asks a core. Without ``--config``, it reads the default files' settings."""

    reads_default_files = True


def asking_except(*refused: str) -> type[AskingCommand]:
    """Return a command that asks a core, whose help does not show what it refuses."""
    return type("RefusingCommand", (AskingCommand,), {"refused": refused})


class CommandGroup(TyperGroup):
    """A group of commands. Errors repeat an unknown one only if it cannot contain a password."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = [*args]
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            _explain(ctx, error, given)
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        is_plain = ":" not in args[0] and all(map(harmless, args))
        if not is_plain and super().get_command(ctx, args[0]) is None:
            ctx.fail("No such command.")
        return super().resolve_command(ctx, args)


class GatheringCommand(Command):
    """A command that gathers all faults of settings instead of ending at the first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        found = gather(ctx)
        while True:
            try:
                return super().parse_args(ctx, list(args))
            except typer.BadParameter as error:
                if error.param is None:
                    raise
                found.append(error)
                _use_default(error.param)


def _use_default(parameter: Any) -> None:
    """Make a parameter use its default in this run, whatever is given."""
    default = parameter.default
    value = default() if callable(default) else default
    usual = parameter.process_value
    parameter.process_value = lambda context, _: usual(context, value)


def _explain(context: Any, error: Any, given: Sequence[str]) -> None:
    """Add what to try next to an error about the flags themselves."""
    options = {flag: each for each in context.command.params for flag in each.opts}
    flag = str(getattr(error, "option_name", ""))
    if hasattr(error, "possibilities"):
        error.possibilities = None
        meant = _OTHERWISE.get(flag)
        error.message += f"; did you mean {meant!r}?" if meant in options else ""
        if meant not in options:
            error.message += did_you_mean(flag, (each for each in options if each[:2] == "--"))
    elif flag in options and "requires an argument" in error.message:
        error.message = f"{flag} needs a value: {flag} {options[flag].metavar}"
    elif "unexpected extra argument" in error.message:
        # One may be part of a password with a space.
        if not _PLAIN.search(error.message) or not all(map(harmless, given)):
            error.message = "Got an unexpected extra argument"
        if "--source" in options:
            error.message += "; settings are flags, such as --source URL"


def _put_place(context: typer.Context, error: typer.BadParameter) -> None:
    """Add the origin of the value to an error."""
    if error.param is not None and error.param_hint is None:
        error.param_hint = place(context, error.param.name)
