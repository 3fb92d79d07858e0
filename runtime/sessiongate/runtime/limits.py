"""The limits of a core, as settings."""

from __future__ import annotations

from dataclasses import dataclass

from sessiongate.runtime.settings import integer_from, seconds, setting

MAX_SESSION = 65_536


@dataclass(frozen=True, slots=True)
class CoreLimits:
    """Limits beyond which a call waits or ends with RESOURCE_EXHAUSTED, or a session is cut."""

    max_core_connections: int = setting(
        1024, integer_from(1), "Maximum connections to the core; further ones are closed.", "N"
    )
    # gRPC holds clients that flood a core with calls and cancel them at once (CVE-2023-44487)
    # to this many; without it, gRPC sheds others' calls, too.
    max_calls: int = setting(
        100,
        integer_from(1),
        "Maximum concurrent calls per connection to the core; further ones wait.",
        "N",
    )
    max_watchers: int = setting(
        2000, integer_from(1), "Maximum concurrent streams of sessions per caller of the core.", "N"
    )
    max_message: int = setting(
        1 << 20, integer_from(1), "Maximum size of a gRPC request to the core.", "BYTES"
    )
    max_session: int = setting(
        MAX_SESSION,
        integer_from(8192, 1 << 20),
        "Maximum encoded size of a session; larger ones are truncated.",
        "BYTES",
    )
    max_actions: int = setting(
        60,
        integer_from(1),
        "Maximum actions per minute of a caller, and on a source; further ones are refused.",
        "N",
    )
    idle_timeout: float = setting(
        300.0,
        seconds,
        "Close a connection to the core after this long without a call.",
        "SECONDS",
    )
