"""The core's configuration: one line of JSON on its standard input.

The command line writes it; the keys are the command's flags.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sessiongate.core.sources.base import SourceConfig, SourceConfigError
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.limits import DEFAULT_STALE_AFTER, CoreLimits
from sessiongate.runtime.settings import read_group, settings_of
from sessiongate.runtime.telemetry.logs import LogSettings

DEFAULT_GRPC = "127.0.0.1:50051"
LEDGER_RETENTION = 30 * 24 * 3600.0
CALL_GRACE = 5.0

# Fields of the configuration that are groups: their settings are keys of their own.
_GROUPS: Mapping[str, type[Any]] = {
    "limits": CoreLimits,
    "logs": LogSettings,
    "protection": Protection,
}


class ConfigError(ValueError):
    """The configuration is wrong; the text names the key, the value and what is allowed."""

    def __init__(self, text: str, setting: str = "") -> None:
        """Keep ``setting``, the one that the value came from."""
        super().__init__(text)
        self.setting = setting


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """The configuration of a core. Times are in seconds."""

    sources: tuple[SourceConfig, ...]
    grpc: str = DEFAULT_GRPC  # host:port, port 0 for a free one, or unix:PATH
    ledger: str = "sqlite://"  # sqlite:///PATH, or this one in memory
    stale_after: float = DEFAULT_STALE_AFTER  # how long an unreachable source's sessions stay
    ledger_retention: float = LEDGER_RETENTION  # how long closed sessions are kept
    grace: float = CALL_GRACE  # how long calls may go on after SIGTERM
    core_metrics: str | None = None  # host:port to show metrics at
    limits: CoreLimits = field(default_factory=CoreLimits)
    logs: LogSettings = field(default_factory=LogSettings)
    protection: Protection = field(default_factory=Protection)
    core_token_file: str | None = None  # what gateways show: runtime.auth.core_token
    reflection: bool = True  # whether the reflection service answers
    private: str | None = None  # unix:PATH to listen on too, without TLS
    again: int = 0  # how many cores that it replaces have ended
    # Where settings come from, for errors: flags, variables, or keys of a file.
    origins: Mapping[str, str] = field(default_factory=dict)
    exit_on_eof: bool = False  # drain and exit when standard input ends

    @classmethod
    def from_json(cls, text: str) -> CoreConfig:
        """Read a configuration. Raises `ConfigError`."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"the configuration is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ConfigError("the configuration is not a JSON object")
        sources = values.pop("source", ["host:"])
        groups = _groups(values)
        known = cls.__dataclass_fields__.keys() - {"sources", *_GROUPS}
        unknown = sorted(values.keys() - known)
        if unknown:
            raise ConfigError(f"unknown key {unknown[0]!r}")
        for key in ("stale_after", "ledger_retention", "grace"):
            value = values.get(key, 0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ConfigError(f"{key}: {value!r} is not a number of seconds, 0 or more")
        try:
            return cls(sources=_sources(sources), **groups, **values)
        except SourceConfigError as error:
            raise ConfigError(str(error), "source") from None


def _groups(values: dict[str, Any]) -> dict[str, Any]:
    """Remove the settings that come in groups from the values; return the groups."""
    groups: dict[str, Any] = {}
    for key, group in _GROUPS.items():
        try:
            groups[key] = read_group(group, values)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        for name in settings_of(group):
            values.pop(name, None)
    return groups


def _sources(values: object) -> tuple[SourceConfig, ...]:
    if not isinstance(values, list) or not values:
        raise ConfigError("source: must be a list of one URL or more", "source")
    configs = tuple(read_source(value) for value in values)
    names = [config.name for config in configs]
    for name in names:
        if names.count(name) > 1:
            text = f"source: two are named {name!r}; add name=… to one"
            raise ConfigError(text, "source")
    return configs


def read_source(value: Any) -> SourceConfig:
    """Read a source from the configuration. Raises `ConfigError` or `SourceConfigError`."""
    if isinstance(value, str):
        return SourceConfig.parse(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("url"), str):
        raise ConfigError('source: each is a URL, or a table with "url" and options', "source")
    extra = {key: _option(option) for key, option in value.items() if key != "url"}
    return SourceConfig.parse(value["url"], extra)


def _option(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
