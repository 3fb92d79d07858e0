"""The command's options, each declared once, and the file that may hold them.

An option with a variable is a setting. The file holds settings under the flags'
names, with underscores for hyphens, and becomes click's ``default_map``: flag,
variable and file are read and refused by the same code, in the same words.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from gateway.groups import option
from gateway.values import (
    Source,
    address,
    default_ledger,
    grpc_address,
    has_password,
    network,
    path,
    seconds,
    session_id,
    switch,
    text,
)


class Command(TyperCommand):
    """A command whose errors say where a bad value was: flag, variable or file.

    Its help shows options that belong together under a title of their own.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if error.param is not None and error.param_hint is None:
                error.param_hint = place(ctx, error.param.name)
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                title = getattr(parameter, "rich_help_panel", None)
                if parameter.param_type_name == "argument":
                    title = "Arguments"
                sections.setdefault(title or "Options", []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def given_as_flag(context: typer.Context, name: str) -> bool:
    """Whether an option's value comes from the command line itself."""
    return _origin(context, name) == "COMMANDLINE"


def place(context: typer.Context, name: str) -> str:
    """Where a parameter's value comes from, for an error: a flag, a variable or a file's key."""
    parameter = next(known for known in context.command.params if known.name == name)
    match _origin(context, name):
        case "ENVIRONMENT":
            return str(parameter.envvar)
        case "DEFAULT_MAP":
            return f"{name!r} in {context.params['config']}"
        case _ if parameter.param_type_name == "argument":
            return str(parameter.metavar)
        case _:
            return parameter.opts[0]


def settings(root: object) -> Mapping[str, bool]:
    """The names of all the commands' settings, and whether each can be given many times."""
    return {
        option.name: option.multiple
        for command in cast(TyperGroup, root).commands.values()
        for option in command.params
        if option.envvar and option.name != "config"
    }


def _origin(context: typer.Context, name: str) -> str | None:
    source = context.get_parameter_source(name)
    return source.name if source else None


def _read_file(context: typer.Context, file: Path | None) -> Path | None:
    if file is None:
        return None
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file} cannot be read as TOML: {error}") from None
    known = settings(context.find_root().command)
    for name in values:
        if name not in known:
            allowed = ", ".join(sorted(known))
            raise typer.BadParameter(f"{file}: unknown key {name!r}; allowed are {allowed}")
    context.default_map = {
        name: [value] if known[name] and not isinstance(value, list) else value
        for name, value in values.items()
    }
    return file


def _refuse_password(
    context: typer.Context, option: typer.CallbackParam, value: str | list[Source]
) -> str | list[Source]:
    urls = [value] if isinstance(value, str) else [source.url for source in value]
    if given_as_flag(context, option.name) and any(map(has_password, urls)):
        advice = f"put the URL in the --config file or in {option.envvar}"
        if option.name == "source":
            advice += ", or the password in a file and its path in password_file=PATH"
        raise typer.BadParameter(
            f"every user of this machine can read a password on the command line: {advice}"
        )
    return value


Config = Annotated[
    Path | None,
    option(
        "--config",
        "Read settings from this TOML file.",
        "FILE",
        is_eager=True,
        callback=_read_file,
    ),
]
Http = Annotated[
    str,
    option(
        "--http",
        "Listen here for REST; port 0 takes a free one.",
        "ADDRESS",
        parser=address,
    ),
]
CoreGrpc = Annotated[
    str,
    option(
        "--grpc",
        "Let the core listen here for gRPC; port 0 takes a free one.",
        "ADDRESS",
        parser=grpc_address,
    ),
]
Grpc = Annotated[
    str,
    option(
        "--grpc",
        "Listen here for gRPC; port 0 takes a free one.",
        "ADDRESS",
        parser=grpc_address,
    ),
]
Core = Annotated[
    str,
    option(
        "--core",
        "Ask the core that listens here.",
        "ADDRESS",
        parser=grpc_address,
    ),
]
OtherCore = Annotated[
    str | None,
    option(
        "--core",
        "Ask the core that listens here, and start none.",
        "ADDRESS",
        parser=grpc_address,
    ),
]
Sources = Annotated[
    list[Source],
    option(
        "--source",
        "Read sessions from here; repeatable.",
        "URL",
        parser=Source.read,
        callback=_refuse_password,
        default_factory=lambda: ["host:"],
        show_default="host:",
    ),
]
Ledger = Annotated[
    str,
    option(
        "--ledger",
        "Keep session ids in this database; sqlite:// is in memory.",
        "URL",
        parser=text,
        callback=_refuse_password,
        default_factory=default_ledger,
        show_default="a file in the user's state folder",
    ),
]
StaleAfter = Annotated[
    float,
    option(
        "--stale-after",
        "Show an unreachable source's last known sessions this long.",
        "SECONDS",
        parser=seconds,
    ),
]
CoreTimeout = Annotated[
    float,
    option(
        "--core-timeout",
        "Wait this long for an answer of the core.",
        "SECONDS",
        parser=seconds,
    ),
]
PublicUrl = Annotated[
    str | None,
    option(
        "--public-url",
        "Build links from this URL instead of the request's host.",
        "URL",
        parser=text,
    ),
]
LinkUrl = Annotated[
    str | None,
    option(
        "--public-url",
        "With --json: begin links with this URL, not with http://localhost:8989.",
        "URL",
        parser=text,
    ),
]
AllowedHosts = Annotated[
    list[str] | None,
    option(
        "--allowed-host",
        "Answer requests for this host too; repeatable.",
        "HOST",
        parser=text,
    ),
]
ReplicaUse = Annotated[
    Any,  # a bool; said so, it would be a flag that takes no value
    option(
        "--replica",
        "Answer from a live copy of the core's sessions while it is provably current: on or off.",
        "SWITCH",
        parser=switch,
    ),
]
ReplicaStaleness = Annotated[
    float,
    option(
        "--replica-staleness",
        "Ask the core instead where the copy may be older than this.",
        "SECONDS",
        parser=seconds,
    ),
]
Workers = Annotated[
    int,
    option(
        "--workers",
        "Run this many gateway processes on the one address.",
        "NUMBER",
        min=1,
        max=64,
    ),
]
CoreTokenFile = Annotated[
    Path | None,
    option(
        "--core-token-file",
        "The secret that gateways show their core: a line each, of which a gateway has the first.",
        "FILE",
        parser=path,
    ),
]
CoreToken = Annotated[
    Path | None,
    option(
        "--core-token-file",
        "Show the core the token on this file's first line.",
        "FILE",
        parser=path,
    ),
]
Reflection = Annotated[
    Any,  # a bool, as `ReplicaUse`
    option(
        "--reflection",
        "Let the core tell its methods (gRPC reflection), to those who may call them: on or off.",
        "SWITCH",
        parser=switch,
    ),
]
TrustedProxies = Annotated[
    list[Any] | None,
    option(
        "--trusted-proxies",
        "Believe proxies of this network what they say of their callers; repeatable.",
        "NETWORK",
        parser=network,
    ),
]
Metrics = Annotated[
    str | None,
    option(
        "--metrics",
        "Show the gateway's metrics here, at /metrics, to Prometheus.",
        "ADDRESS",
        parser=address,
    ),
]
CoreMetrics = Annotated[
    str | None,
    option(
        "--core-metrics",
        "Let the core show its metrics here, at /metrics, to Prometheus.",
        "ADDRESS",
        parser=address,
    ),
]
Insecure = Annotated[
    bool,
    option(
        "--insecure",
        "Listen where other machines reach it, also without TLS and credentials.",
        parser=switch,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the JSON:API document.")]
SessionId = Annotated[
    int,
    typer.Argument(metavar="ID", help="The session's id.", parser=session_id, show_default=False),
]
