"""The settings of a core, which the commands take and the core reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sessiongate.runtime.settings import (
    grpc_listener,
    listener,
    repeatable,
    seconds,
    setting,
    switch,
    text,
)
from sessiongate.runtime.urls import redacted
from sessiongate.v1.address import DEFAULT_ADDRESS

# A source as the user writes it: its URL, or a table with ``url`` and options.
SourceValue: TypeAlias = str | Mapping[str, str | int | float | bool]


def _source(value: object) -> SourceValue:
    """Read a source's URL, or a table of the file."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("url"), str):
        raise ValueError('must be a URL, or a table with "url" and options')
    for key, option in value.items():
        if not isinstance(option, str | int | float | bool):
            raise ValueError(
                f"option {redacted(key)} of a source must be a string, a number, true or false"
            )
    return value


def _default_ledger() -> str:
    """Return the URL of the ledger if none is given: a file that outlives a restart.

    A folder whose path is relative is skipped, as the XDG specification requires:
    ids would depend on where the program is started.
    """
    kept = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd may list several
    home = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(kept):
        folder = Path(kept)
    elif os.path.isabs(home):
        folder = Path(home, "sessiongate")
    else:
        folder = Path.home() / ".local" / "state" / "sessiongate"
    return f"sqlite:///{folder.absolute() / 'ledger.db'}"


@dataclass(frozen=True)
class SourceSettings:
    """The setting that names the sources."""

    source: tuple[SourceValue, ...] = repeatable(
        ("host:",),
        _source,
        "Source of sessions, such as postgresql://USER@HOST; repeatable.",
        "URL",
        may_hold_password=True,
    )


@dataclass(frozen=True)
class LedgerSettings:
    """The setting that names the ledger."""

    ledger: str = setting(
        "sqlite://",
        text,
        "Database for session ids; sqlite:// keeps them in memory.",
        "URL",
        may_hold_password=True,
        find_default=_default_ledger,
        default_help="a file in the user's state folder",
    )


@dataclass(frozen=True)
class CoreSettings:
    """A core's remaining settings, except its limits."""

    grpc: str = setting(
        DEFAULT_ADDRESS,
        grpc_listener,
        "Listening address of the core for gRPC; port 0 selects a free port.",
        "ADDRESS",
    )
    stale_after: float = setting(
        30.0,
        seconds,
        "Keep the last known sessions of an unreachable source for this long.",
        "SECONDS",
    )
    reflection: bool = setting(
        True,
        switch,
        "Offer gRPC reflection to callers that are allowed to call the core: on or off.",
        "SWITCH",
    )
    core_metrics: str | None = setting(
        None,
        listener,
        "Listening address for the core's Prometheus metrics, at /metrics.",
        "ADDRESS",
    )
