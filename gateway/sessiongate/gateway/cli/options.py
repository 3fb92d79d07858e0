"""The command's options, each declared once.

An option with a variable is a setting. The file (`gateway.cli.settings_file`) holds settings
under the flags' names, with underscores for hyphens, and becomes click's ``default_map``:
flags, variables and the file are read and refused by the same code, in the same words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sessiongate.gateway.cli.groups import option, reading
from sessiongate.gateway.cli.origin import given_as_flag
from sessiongate.gateway.cli.settings_file import read_settings
from sessiongate.gateway.cli.values import (
    SourceSetting,
    address_value,
    default_ledger,
    grpc_address_value,
    has_password,
    network_value,
    path_value,
    seconds_value,
    session_id_value,
    switch_value,
    text_value,
)
from sessiongate.runtime.settings import up_to


def _refuse_password(
    context: typer.Context, option: typer.CallbackParam, value: str | list[SourceSetting]
) -> str | list[SourceSetting]:
    urls = [value] if isinstance(value, str) else [source.url for source in value]
    if given_as_flag(context, option.name) and any(map(has_password, urls)):
        advice = f"put the URL in the --config file or in {option.envvar}"
        if option.name == "source":
            advice += ", or the password in a file and its path in password_file=PATH"
        raise typer.BadParameter(
            f"every user of this machine can read a password on the command line: {advice}"
        )
    return value


ConfigOption = Annotated[
    Path | None,
    option(
        "--config",
        "Read settings from this TOML file.",
        "FILE",
        is_eager=True,
        parser=path_value,  # click's own would access the file, which may hang
        callback=read_settings,
    ),
]
HttpOption = Annotated[
    str,
    option(
        "--http",
        "Listen here for REST; port 0 takes a free one.",
        "ADDRESS",
        parser=address_value,
    ),
]
CoreGrpcOption = Annotated[
    str,
    option(
        "--grpc",
        "Let the core listen here for gRPC; port 0 takes a free one.",
        "ADDRESS",
        parser=grpc_address_value,
    ),
]
GrpcOption = Annotated[
    str,
    option(
        "--grpc",
        "Listen here for gRPC; port 0 takes a free one.",
        "ADDRESS",
        parser=grpc_address_value,
    ),
]
CoreOption = Annotated[
    str,
    option(
        "--core",
        "Ask the core that listens here.",
        "ADDRESS",
        parser=grpc_address_value,
    ),
]
OtherCoreOption = Annotated[
    str | None,
    option(
        "--core",
        "Ask the core that listens here, and start none.",
        "ADDRESS",
        parser=grpc_address_value,
    ),
]
SourcesOption = Annotated[
    list[SourceSetting],
    option(
        "--source",
        "Read sessions from here; repeatable.",
        "URL",
        parser=SourceSetting.read,
        callback=_refuse_password,
        default_factory=lambda: ["host:"],
        show_default="host:",
    ),
]
LedgerOption = Annotated[
    str,
    option(
        "--ledger",
        "Keep session ids in this database; sqlite:// is in memory.",
        "URL",
        parser=text_value,
        callback=_refuse_password,
        default_factory=default_ledger,
        show_default="a file in the user's state folder",
    ),
]
StaleAfterOption = Annotated[
    float,
    option(
        "--stale-after",
        "Show an unreachable source's last known sessions this long.",
        "SECONDS",
        parser=seconds_value,
    ),
]
CoreTimeoutOption = Annotated[
    float,
    option(
        "--core-timeout",
        "Wait this long for an answer of the core.",
        "SECONDS",
        parser=seconds_value,
    ),
]
PublicUrlOption = Annotated[
    str | None,
    option(
        "--public-url",
        "Build links from this URL instead of the request's host.",
        "URL",
        parser=text_value,
    ),
]
LinkUrlOption = Annotated[
    str | None,
    option(
        "--public-url",
        "With --json: begin links with this URL, not with http://localhost:8989.",
        "URL",
        parser=text_value,
    ),
]
AllowedHostsOption = Annotated[
    list[str] | None,
    option(
        "--allowed-host",
        "Answer requests for this host too; repeatable.",
        "HOST",
        parser=text_value,
    ),
]
ReplicaUseOption = Annotated[
    Any,  # a bool; declared so, it would be a flag that takes no value
    option(
        "--replica",
        "Answer from a live copy of the core's sessions while it is provably current: on or off.",
        "SWITCH",
        parser=switch_value,
    ),
]
ReplicaStalenessOption = Annotated[
    float,
    option(
        "--replica-staleness",
        "Ask the core instead where the copy may be older than this.",
        "SECONDS",
        parser=seconds_value,
    ),
]
WorkersOption = Annotated[
    int,
    option(
        "--workers",
        "Run this many gateway processes on the one address.",
        "NUMBER",
        parser=reading(up_to(64)),
    ),
]
CoreTokenFileOption = Annotated[
    Path | None,
    option(
        "--core-token-file",
        "The secret that gateways show their core: a line each, of which a gateway has the first.",
        "FILE",
        parser=path_value,
    ),
]
CoreTokenOption = Annotated[
    Path | None,
    option(
        "--core-token-file",
        "Show the core the token on this file's first line.",
        "FILE",
        parser=path_value,
    ),
]
ReflectionOption = Annotated[
    Any,  # a bool, as `ReplicaUseOption`
    option(
        "--reflection",
        "Let the core tell its methods (gRPC reflection), to those who may call them: on or off.",
        "SWITCH",
        parser=switch_value,
    ),
]
TrustedProxiesOption = Annotated[
    list[Any] | None,
    option(
        "--trusted-proxies",
        "Believe proxies of this network what they say of their callers; repeatable.",
        "NETWORK",
        parser=network_value,
    ),
]
MetricsOption = Annotated[
    str | None,
    option(
        "--metrics",
        "Show the gateway's metrics here, at /metrics, to Prometheus.",
        "ADDRESS",
        parser=address_value,
    ),
]
CoreMetricsOption = Annotated[
    str | None,
    option(
        "--core-metrics",
        "Let the core show its metrics here, at /metrics, to Prometheus.",
        "ADDRESS",
        parser=address_value,
    ),
]
InsecureOption = Annotated[
    bool,
    option(
        "--insecure",
        "Listen where other machines reach it, also without TLS and credentials.",
        parser=switch_value,
    ),
]
AsJsonOption = Annotated[bool, typer.Option("--json", help="Print the JSON:API document.")]
SessionIdArgument = Annotated[
    int,
    typer.Argument(
        metavar="ID", help="The session's id.", parser=session_id_value, show_default=False
    ),
]
