"""The names for plugins that add a kind of source; docs/plugins.md describes each."""

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
