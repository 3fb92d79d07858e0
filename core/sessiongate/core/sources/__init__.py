"""What a plugin that adds a kind of source needs; docs/plugins.md describes each name."""

from sessiongate.core.sources.base import (
    ActError,
    ActFault,
    ActingSource,
    Action,
    Observation,
    Observed,
    OpenSource,
    Source,
    SourceConfig,
    SourceConfigError,
    SourceConnectError,
    SourceError,
    Strike,
    Target,
    TcpLink,
    Unreadable,
)

__all__ = [
    "ActError",
    "ActFault",
    "ActingSource",
    "Action",
    "Observation",
    "Observed",
    "OpenSource",
    "Source",
    "SourceConfig",
    "SourceConfigError",
    "SourceConnectError",
    "SourceError",
    "Strike",
    "Target",
    "TcpLink",
    "Unreadable",
]
