"""The settings of a core, which the commands take and the core reads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sessiongate.runtime.settings import (
    duration,
    grpc_listener,
    integer_from,
    listener,
    must_be,
    repeatable,
    seconds,
    setting,
    switch,
    text,
)
from sessiongate.runtime.urls import redacted
from sessiongate.v1.address import DEFAULT_ADDRESS

# A source as the user writes it: its URL, or a table with ``url`` and options.
SourceValue: TypeAlias = str | Mapping[str, str | int | float | bool | list[str]]

DEFAULT_SHARD = "default"  # of a core that names none
DEFAULT_NETWORK = "default"  # of a core that names none
LEAST_TAKEOVER = 2.0  # seconds: several beats, also of a core that is slow for a moment
_MEMBER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")
_LISTS = ("actions",)  # options that may be lists of words


def _source(value: object) -> SourceValue:
    """Read a source's URL, or a table of the file."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("url"), str):
        raise ValueError('must be a URL, or a table with "url" and options')
    for key, option in value.items():
        if key in _LISTS and isinstance(option, list):
            if not all(isinstance(each, str) for each in option):
                raise ValueError(f"option {key!r} of a source must be a list of strings")
        elif not isinstance(option, str | int | float | bool):
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
        "Database for session ids and history: sqlite:///PATH, or"
        " postgresql://USER@HOST/DATABASE; sqlite:// keeps them in memory.",
        "URL",
        may_hold_password=True,
        find_default=_default_ledger,
        default_help="a file in the user's state folder",
    )


def _member_name(value: object) -> str:
    """Read the name of a core, a shard or a network, which is shown, and part of other names."""
    if not isinstance(value, str) or not _MEMBER_NAME.fullmatch(value):
        raise must_be("1 to 63 letters, digits, dots, hyphens or underscores", value)
    return value


def _takeover_after(value: object) -> float:
    """Read how long a core may seem to hang: several of its beats."""
    found = seconds(value)
    if found < LEAST_TAKEOVER:
        raise must_be(f"a number of seconds of at least {LEAST_TAKEOVER:g}", value)
    return found


@dataclass(frozen=True)
class FleetSettings:
    """A core's place among the cores that share a ledger in PostgreSQL."""

    shard: str | None = setting(
        None,
        _member_name,
        "Name of the set of sources that this core and its stand-bys read; by default,"
        f" {DEFAULT_SHARD}.",
        "NAME",
    )
    name: str | None = setting(
        None,
        _member_name,
        "Name of this core among those that share a ledger; by default, its host's name.",
        "NAME",
    )
    advertise: str | None = setting(
        None,
        grpc_listener,
        "Address by which other machines call this core; by default, the one that it listens on.",
        "ADDRESS",
    )
    network: str = setting(
        DEFAULT_NETWORK,
        _member_name,
        "Name of the network of this core's private addresses; a front links no sessions of"
        " different networks by such addresses.",
        "NAME",
    )
    takeover_after: float = setting(
        5.0,
        _takeover_after,
        "Take over from a core that has shown no sign of life for this long.",
        "SECONDS",
    )
    fleet: bool = setting(
        False,
        switch,
        "Be a front: read no sources, but follow the active cores of all shards.",
    )


def _age(value: object) -> str:
    """Read for how long past sessions are kept."""
    try:
        history_age(str(value))
    except ValueError:
        raise must_be("a duration of at most 10000d, such as 12h or 30d, or off", value) from None
    return str(value).lower()


def history_age(text: str) -> float | None:
    """Return for how many seconds past sessions are kept; None for none. Raises `ValueError`."""
    return None if text.lower() == "off" else duration(text.lower())


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
    history: str = setting(
        "30d",
        _age,
        "Keep sessions that have ended for this long, such as 12h or 30d; off keeps none.",
        "AGE",
    )
    history_max: int = setting(
        2 << 30,
        integer_from(1 << 20),
        "Maximum size of the ledger; above it, the oldest sessions that have ended are dropped.",
        "BYTES",
    )
    history_min: float = setting(
        0.0,
        duration,
        "Keep no session that lasted less than this, such as 0.5 or 2s.",
        "SECONDS",
    )
    reflection: bool = setting(
        True,
        switch,
        "Offer gRPC reflection to callers that are allowed to call the core: on or off.",
        "SWITCH",
    )
    audit_log: str | None = setting(
        None,
        text,
        "Append a line of JSON to this file for each action; without it, they go to the log.",
        "FILE",
    )
    core_metrics: str | None = setting(
        None,
        listener,
        "Listening address for the core's Prometheus metrics, at /metrics.",
        "ADDRESS",
    )
