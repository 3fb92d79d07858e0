"""How many files and connections a process may have open."""

from __future__ import annotations

import logging
import resource
from contextlib import suppress

log = logging.getLogger(__name__)

_ENOUGH = 65536
# Those that are no caller's: files, sources or a core, the exporter's, the interpreter's own.
_OWN = 128


def allow_descriptors() -> None:
    """Allow this process, and those it starts, as many as it may have; at most 65536.

    The usual limit is 1024, for the sake of programs that use select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # it was forbidden
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fitted(name: str, wanted: int) -> int:
    """How many callers' connections of ``wanted``, a setting, there is room for; says if fewer."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or wanted <= allowed - _OWN:
        return wanted
    room = max(1, allowed - _OWN)
    log.warning(
        "%s is %d, not %d: this process may have %d descriptors open, and needs %d for itself;"
        " raise its limit (ulimit -n, or LimitNOFILE= of systemd)",
        *(name, room, wanted, allowed, _OWN),
    )
    return room
