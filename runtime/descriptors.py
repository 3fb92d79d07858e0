"""How many files and connections a process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress

_ENOUGH = 65536


def allow_descriptors() -> None:
    """Allow this process, and those it starts, as many as it may have; at most 65536.

    The usual limit is 1024, for the sake of programs that use select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # it was forbidden
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
