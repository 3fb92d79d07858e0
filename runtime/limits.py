"""What a core does at most."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.settings import count, setting


@dataclass(frozen=True, slots=True)
class CoreLimits:
    """Beyond one of these, a call ends with RESOURCE_EXHAUSTED."""

    max_watchers: int = setting(
        2000, count, "Streams of sessions that one caller may have from the core at once.", "N"
    )
    max_message: int = setting(1 << 20, count, "Largest gRPC request that the core reads.", "BYTES")
