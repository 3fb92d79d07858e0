"""The limits of a core."""

from __future__ import annotations

from dataclasses import dataclass

from sessiongate.runtime.settings import between, count, seconds, setting

MAX_SESSION = 65_536


@dataclass(frozen=True, slots=True)
class CoreLimits:
    """Limits beyond which a call waits or ends with RESOURCE_EXHAUSTED, or a session is cut."""

    max_core_connections: int = setting(
        1024, count, "Connections to the core at once; more are closed.", "N"
    )
    # gRPC holds clients that flood a core with calls and cancel them at once (CVE-2023-44487)
    # to this many; without it, gRPC sheds others' calls, too.
    max_calls: int = setting(
        100, count, "Calls that one connection to the core may have open at once; more wait.", "N"
    )
    max_watchers: int = setting(
        2000, count, "Streams of sessions that one caller may have from the core at once.", "N"
    )
    max_message: int = setting(1 << 20, count, "Largest gRPC request that the core reads.", "BYTES")
    max_session: int = setting(
        MAX_SESSION,
        between(8192, 1 << 20),
        "Largest session, encoded; what does not fit is cut.",
        "BYTES",
    )
    idle_timeout: float = setting(
        300.0,
        seconds,
        "Close a connection to the core without a call for so long.",
        "SECONDS",
    )
