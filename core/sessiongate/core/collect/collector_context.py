"""The objects that all sources of a core use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sessiongate.core.collect.first_reads import FirstReads
from sessiongate.core.collect.links import Links
from sessiongate.core.collect.scopes import Scopes
from sessiongate.core.collect.shown_source import ShownSource
from sessiongate.core.collect.terminations import Terminations
from sessiongate.core.ledger.base import Ledger
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.memory import FreeMemory


@dataclass(frozen=True, slots=True)
class CollectorContext:
    """The objects that all sources use."""

    table: SessionTable
    ledger: Ledger
    links: Links
    memory: FreeMemory
    stale_after: float
    max_session: int  # bytes
    now: Callable[[], int]
    scopes: Scopes | None = None  # if TCP links are stated, for fronts
    first_reads: FirstReads | None = None
    terminations: Terminations = field(default_factory=Terminations)
    warmed: Mapping[str, ShownSource] = field(default_factory=dict)  # by source
