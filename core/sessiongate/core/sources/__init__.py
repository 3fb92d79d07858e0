"""What a plugin that adds a kind of source needs; docs/plugins.md describes each name."""

from sessiongate.core.sources.base import (
    Observation,
    Observed,
    OpenSource,
    Source,
    SourceConfig,
    SourceConfigError,
    SourceConnectError,
    SourceError,
    TcpLink,
    Unreadable,
)

__all__ = [
    "Observation",
    "Observed",
    "OpenSource",
    "Source",
    "SourceConfig",
    "SourceConfigError",
    "SourceConnectError",
    "SourceError",
    "TcpLink",
    "Unreadable",
]
