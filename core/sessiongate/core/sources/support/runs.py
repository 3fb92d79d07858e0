"""Runs of consecutive sessions in a response, recognized by their text in the next one.

Most of a response is the same as in the previous one. A run of sessions whose text
differs only in its times is not read again.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.stability import TOLERANCE, debounce
from sessiongate.runtime.memory import untrack

_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# The members that only the clock changes. In JSON these characters can only be a member's
# name: within a string the quotes are escaped.
_TIMES = re.compile(rb'"(idle|seconds_alive)"\s*:\s*(%b)' % _NUMBER.pattern)
MAX_REMEMBERED_BYTES = 64 * 1024 * 1024  # of a response's text that is kept
_SMALL = 32 * 1024  # bytes; a smaller run is read together with the one before it


class Active(NamedTuple):
    """When a client was last active."""

    moment: float  # seconds since the epoch
    is_busy: bool  # its idle time was 0, as it is while a statement runs


@dataclass(frozen=True, slots=True)
class KnownElement:
    """The result of reading a resource object."""

    ident: str
    digest: bytes  # of the resource object, without its times; see `digest`
    connected: object  # as stated, if that was text
    texts: Set[str]  # the times of statements, as stated
    active: Active | None
    # The moments of its local times that were certain: its start, and the times of
    # statements by their texts. Later they could be uncertain.
    started: float | None
    resolved: Mapping[str, float]
    blockers: tuple[str, ...]  # ids of those that it waits for
    observed: Observed

    def __post_init__(self) -> None:
        untrack(self)

    @property
    def order(self) -> tuple[int, str]:
        """A sort key that orders ids, which are text, as numbers."""
        return len(self.ident), self.ident


def digest(value: Any) -> bytes:
    """Return a digest to keep instead of a JSON value; empty if it is nested too deeply.

    An object with many members takes far more memory than its text, and the garbage
    collector visits every member.
    """
    try:
        return blake2b(marshal.dumps(value, 2), digest_size=16).digest()
    except ValueError:  # it is nested too deeply
        return b""


def last_active(
    idle: object, moment: float, known: KnownElement | None, *, is_same: bool
) -> Active | None:
    """Return when a client was last active, by its idle time; None if that is not valid."""
    if not isinstance(idle, int | float) or isinstance(idle, bool) or not 0 <= idle <= moment:
        return None
    before = known.active if known else None
    if before is None:
        return Active(moment - idle, not idle)
    if before.is_busy and not idle and is_same:
        return before  # still busy: only the clock has changed
    if before.is_busy and idle:
        return Active(moment - idle, is_busy=False)
    return Active(debounce(moment - idle, before.moment), not idle)


class Run:
    """Some sessions of a response, and their text without its times."""

    def __init__(self, text: bytes, rows: Sequence[tuple[Hashable, KnownElement]]) -> None:
        self.size = len(text)
        self.rows = rows
        for row in rows:
            untrack(row)
        # What precedes each time, and when a session was last active by that; None: it is an age.
        self._times: list[tuple[bytes, Active | None]] = []
        # For those that state it.
        actives = iter([known.active for _, known in rows if known.active is not None])
        is_odd, end = False, 0
        for time in _TIMES.finditer(text):
            active = next(actives, None) if time[1] == b"idle" else None
            is_odd = is_odd or (active is None) == (time[1] == b"idle")
            self._times.append((text[end : time.start(2)], active))
            end = time.end(2)
        self._rest = text[end:]
        self._is_odd = is_odd or next(actives, None) is not None

    def length_in(self, data: bytes, start: int, moment: float) -> int:
        """Return its length in bytes at this position; 0 if it is not there unchanged."""
        if self._is_odd:
            return 0
        at = start
        earliest, latest = moment - TOLERANCE, moment + TOLERANCE
        for text, active in self._times:
            # To go from one to the next takes half as long as to search for times.
            if not data.startswith(text, at):
                return 0
            time = _NUMBER.match(data, at + len(text))
            if time is None:
                return 0
            at = time.end()
            if active is not None:
                idle = float(time[0])
                if active.is_busy != (not idle) or (
                    idle and not earliest <= active.moment + idle <= latest
                ):
                    return 0
        return at + len(self._rest) - start if data.startswith(self._rest, at) else 0


class Runs:
    """Finds the runs of one response in the next one."""

    def __init__(self, runs: Sequence[Run], *, is_all: bool) -> None:
        """Look for ``runs``; ``is_all`` means that the response had nothing else."""
        self.all = runs
        self.is_all = is_all
        self._next = 0
        self._starts = {
            run.rows[0][1].ident: number
            for number, run in enumerate(self.all)
            if run.size >= _SMALL or not number
        }

    def found(self, data: bytes, start: int, moment: float) -> tuple[Run, int] | None:
        """Return the run at this position, and its length in bytes; None if there is none."""
        if self._next >= len(self.all):
            return None
        run = self.all[self._next]
        length = run.length_in(data, start, moment)
        # Where the next run begins is known only once its first session is read.
        if not length:
            self._next = len(self.all)
            return None
        self._next += 1
        self._starts.pop(run.rows[0][1].ident, None)  # no run occurs twice
        return run, length

    def begins(self, value: object) -> bool:
        """Return whether a session that was just read is the first of a run."""
        ident = value.get("id") if isinstance(value, dict) else None
        number = self._starts.pop(ident, None) if isinstance(ident, str) else None
        if number is not None:
            self._next = number
        return number is not None
