"""The core's configuration: one line of JSON on its standard input.

The command line writes it; the keys are the command's flags.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.sources.base import SourceConfig, SourceConfigError
from sessiongate.core.sources.locality import named_at
from sessiongate.runtime.addresses import Address
from sessiongate.runtime.auth.core_token import CoreTokenSettings
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.core_settings import (
    DEFAULT_NETWORK,
    DEFAULT_SHARD,
    CoreSettings,
    FleetSettings,
    LedgerSettings,
    SourceSettings,
    SourceValue,
    history_age,
)
from sessiongate.runtime.core_tls import CoreTlsSettings
from sessiongate.runtime.limits import CoreLimits
from sessiongate.runtime.settings import read_group, read_values, settings_of
from sessiongate.runtime.telemetry.logs import LogSettings
from sessiongate.runtime.urls import is_in_postgresql

# Fields of the configuration that are groups: their settings are keys of their own.
_GROUPS: Mapping[str, type[Any]] = {
    "limits": CoreLimits,
    "logs": LogSettings,
    "protection": Protection,
}
# Fields that are no settings: only the command that starts a core gives them.
_INTERNAL = ("private", "again", "origins", "exit_on_eof")


class ConfigError(ValueError):
    """The configuration is wrong; the text names the key, the value and what is allowed."""

    def __init__(self, text: str, setting: str = "") -> None:
        """Keep ``setting``, the one that the value came from."""
        super().__init__(text)
        self.setting = setting


@dataclass(frozen=True, kw_only=True)
class CoreConfig(CoreSettings, FleetSettings, LedgerSettings, CoreTlsSettings, CoreTokenSettings):
    """The configuration of a core. Times are in seconds."""

    sources: tuple[SourceConfig, ...]
    grace: float = 5.0  # how long calls may go on after SIGTERM
    limits: CoreLimits = field(default_factory=CoreLimits)
    logs: LogSettings = field(default_factory=LogSettings)
    protection: Protection = field(default_factory=Protection)
    private: str | None = None  # unix:PATH to listen on too, without TLS
    again: int = 0  # how many cores that it replaces have ended
    # Where settings come from, for errors: flags, variables, or keys of a file.
    origins: Mapping[str, str] = field(default_factory=dict)
    exit_on_eof: bool = False  # drain and exit when standard input ends

    @property
    def can_act(self) -> bool:
        """Whether a source allows actions, and somebody may have the role of an operator."""
        credentials = self.protection.credentials(self.core_token_path)
        has_operators = credentials.has_operators or self.protection.insecure_actions
        return has_operators and (self.fleet or any(source.actions for source in self.sources))

    @property
    def shard_name(self) -> str:
        """The name of the core's shard."""
        return self.shard or DEFAULT_SHARD

    @property
    def core_name(self) -> str:
        """The core's name among those that share its ledger."""
        return self.name or socket.gethostname()

    @property
    def policy(self) -> HistoryPolicy:
        """Which past sessions the ledger keeps."""
        age = history_age(self.history)
        kept = None if age is None else int(age * 1e9)
        return HistoryPolicy(kept, self.history_max, int(self.history_min * 1e9))

    @classmethod
    def from_json(cls, text: str) -> CoreConfig:
        """Read a configuration. Raises `ConfigError`."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"the configuration is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ConfigError("the configuration is not a JSON object")
        groups = (cls, SourceSettings, *_GROUPS.values())
        known = {*_INTERNAL, *(name for group in groups for name in settings_of(group))}
        if unknown := sorted(values.keys() - known):
            raise ConfigError(f"unknown key {unknown[0]!r}")
        try:
            config = cls(
                sources=() if values.get("fleet") else _sources(read_group(SourceSettings, values)),
                **read_values(cls, values),
                **{name: read_group(group, values) for name, group in _GROUPS.items()},
                **{name: values[name] for name in _INTERNAL if name in values},
            )
        except SourceConfigError as error:
            raise ConfigError(str(error), "source") from None
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(str(error), str(error).partition(": ")[0]) from None
        _check_fleet(config)
        return config if config.shard is None else _with_own_sources(config)


def _with_own_sources(config: CoreConfig) -> CoreConfig:
    """Return the configuration of a core of a shard, whose machine has sources of its own."""
    sources = tuple(named_at(source, config.core_name) for source in config.sources)
    return replace(config, sources=sources)


def _check_fleet(config: CoreConfig) -> None:
    """Raise `ConfigError` if the core cannot share its ledger as configured."""
    if not is_in_postgresql(config.ledger):
        for name, each in settings_of(FleetSettings).items():
            if getattr(config, name) != each.default:
                raise ConfigError(
                    "needs a ledger that cores can share, --ledger postgresql://USER@HOST/DATABASE;"
                    " only one core uses a ledger of SQLite",
                    name,
                )
    elif config.fleet and config.shard is not None:
        raise ConfigError("has no effect with --fleet: a front serves all shards", "shard")
    elif config.fleet and config.network != DEFAULT_NETWORK:
        raise ConfigError(
            "has no effect with --fleet: a front uses what its cores state of their networks",
            "network",
        )
    elif (config.shard is not None or config.fleet) and config.advertise is None:
        if not config.grpc.startswith("unix:") and Address.parse(config.grpc).is_wildcard:
            raise ConfigError(
                f"must be given, for other machines cannot call {config.grpc}: name an address of"
                " this machine, HOST:PORT",
                "advertise",
            )
    elif config.advertise is not None and not config.advertise.startswith("unix:"):
        stated = Address.parse(config.advertise)
        if stated.is_wildcard or not stated.port:
            raise ConfigError(
                f"must be an address that others can call, HOST:PORT, got {config.advertise!r}",
                "advertise",
            )


def _sources(settings: SourceSettings) -> tuple[SourceConfig, ...]:
    configs = tuple(map(read_source, settings.source))
    names = [config.name for config in configs]
    for name in names:
        if names.count(name) > 1:
            text = f"source: two are named {name!r}; add name=… to one"
            raise ConfigError(text, "source")
    return configs


def read_source(value: SourceValue) -> SourceConfig:
    """Read a source from the configuration. Raises `SourceConfigError`."""
    if isinstance(value, str):
        return SourceConfig.parse(value)
    options = {key: _option(option) for key, option in value.items()}
    return SourceConfig.parse(options.pop("url"), options)


def _option(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
