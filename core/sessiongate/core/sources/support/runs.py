"""What was made of sessions that stand one behind the other in an answer, by their text.

Most of an answer is what the one before it was. A run of sessions whose text differs in
nothing but its times is not read again.
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

# The members that only the clock changes; ``idle`` is kept. These characters are
# nothing but a member's name in JSON: within a string the quotes are escaped.
_TIMES = re.compile(
    rb'"(?:idle"\s*:\s*(N)|seconds_alive"\s*:\s*N)'.replace(
        b"N", rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
    )
)
_LONGER = 4  # bytes by which a time may have grown, on average
MAX_REMEMBERED_BYTES = 64 * 1024 * 1024  # of text that is kept of an answer
_SMALL = 32 * 1024  # bytes of a run that is read along with the one before it


class Active(NamedTuple):
    """When a client was last active."""

    moment: float  # seconds since the epoch
    is_busy: bool  # its idle time was 0, as it is for as long as a statement runs


@dataclass(frozen=True, slots=True)
class KnownElement:
    """What was made of a resource object."""

    ident: str
    digest: bytes  # of the resource object, without its times; see `digest`
    connected: object  # what it stated, if that was text
    texts: Set[str]  # the times of statements that it stated
    active: Active | None
    # What its local times were read as, once that was certain: its start, and the times of
    # statements by their texts. They would be less certain later.
    started: float | None
    resolved: Mapping[str, float]
    observed: Observed

    @property
    def order(self) -> tuple[int, str]:
        """Ids as text in the order of the numbers that they are."""
        return len(self.ident), self.ident


def digest(value: Any) -> bytes:
    """What tells a JSON value from another one, and is kept in its stead; empty if nothing does.

    An object of many members takes far more memory than its text, and the collector of
    garbage looks at each of them.
    """
    try:
        return blake2b(marshal.dumps(value, 2), digest_size=16).digest()
    except ValueError:  # it is nested too deeply
        return b""


def last_active(
    idle: object, moment: float, known: KnownElement | None, *, is_same: bool
) -> Active | None:
    """When a client was last active, by its idle time; None if that states no such moment."""
    if not isinstance(idle, int | float) or isinstance(idle, bool) or not 0 <= idle <= moment:
        return None
    before = known.active if known else None
    if before is None:
        return Active(moment - idle, not idle)
    if before.is_busy and not idle and is_same:
        return before  # still at it: nothing but the clock has changed
    return Active(debounce(moment - idle, before.moment), not idle)


class Run:
    """Some sessions of an answer, and their text but for its times."""

    def __init__(self, text: bytes, rows: Sequence[tuple[Hashable, KnownElement]]) -> None:
        parts = _TIMES.split(text)
        self.size = len(text)
        self.rows = rows
        self._texts = parts[::2]
        # When those of the sessions were active that state it.
        self._actives = [known.active for _, known in rows if known.active is not None]

    def stands_in(self, data: bytes, start: int, moment: float) -> int:
        """How many bytes of an answer it is; 0 if it is not there as it was."""
        texts = self._texts
        times = len(texts) - 1
        if not data.startswith(texts[0], start):
            return 0
        room = self.size + times * _LONGER
        parts = _TIMES.split(data[start : start + room], times) if times else [data[start:][:room]]
        rest = parts[-1]
        if parts[:-1:2] != texts[:-1] or not rest.startswith(texts[-1]):
            return 0
        idles = [float(idle) for idle in parts[1::2] if idle is not None]
        if len(idles) != len(self._actives):
            return 0
        earliest, latest = moment - TOLERANCE, moment + TOLERANCE
        for idle, (active, is_busy) in zip(idles, self._actives, strict=True):
            if not earliest <= active + idle <= latest and (idle or not is_busy):
                return 0
        return min(room, len(data) - start) - len(rest) + len(texts[-1])


class Runs:
    """Those of one answer, found again in the next one."""

    def __init__(self, runs: Sequence[Run], *, is_all: bool) -> None:
        """``is_all`` says that the answer was nothing but these."""
        self.all = runs
        self.is_all = is_all
        self._next = 0
        self._starts = {
            run.rows[0][1].ident: number
            for number, run in enumerate(self.all)
            if run.size >= _SMALL or not number
        }

    def found(self, data: bytes, start: int, moment: float) -> tuple[Run, int] | None:
        """The run that stands here, and how many bytes it is."""
        if self._next >= len(self.all):
            return None
        run = self.all[self._next]
        length = run.stands_in(data, start, moment)
        # Of the next ones it is known where they begin when their first session is read.
        if not length:
            self._next = len(self.all)
            return None
        self._next += 1
        self._starts.pop(run.rows[0][1].ident, None)  # no run is there twice
        return run, length

    def begins(self, value: object) -> bool:
        """Whether a session that was just read is the first one of a run."""
        ident = value.get("id") if isinstance(value, dict) else None
        number = self._starts.pop(ident, None) if isinstance(ident, str) else None
        if number is not None:
            self._next = number
        return number is not None
