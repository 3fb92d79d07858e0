"""Values as people at a terminal read them. Nothing that a client chose controls the terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

# Terminals that know no styles.
_PLAIN_TERMINALS = ("", "dumb", "unknown")


def plain(value: str) -> str:
    """Replace characters in text of clients that would control a terminal."""
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value)


def unobeyed(document: str) -> str:
    """Escape characters in a JSON document that would control a terminal."""
    lines = document.split("\n")  # lines of the layout: JSON escapes newlines in strings
    return "\n".join(line if line.isprintable() else _escaped(line) for line in lines)


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def joined(value: object) -> str:
    """Return a value as text: the elements of a list with commas between them."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)


def time_text(time: Timestamp) -> str:
    """Return a moment to the second, in UTC: 2017-05-17 10:06:35Z."""
    return f"{datetime.fromtimestamp(time.seconds, UTC):%Y-%m-%d %H:%M:%SZ}"


def local_time_text(time: Timestamp, now: float | None = None) -> str:
    """Return a moment to the second, in local time: 2026-11-26 14:05:12+01:00.

    With ``now``, in seconds since the epoch, leave out the offset, and the date if it is today's.
    """
    try:
        local = datetime.fromtimestamp(time.seconds).astimezone()
        today = None if now is None else datetime.fromtimestamp(now).date()
    except (ValueError, OverflowError, OSError):  # such as a time before the year 1
        return time_text(time)
    if now is None:
        return zoned_text(local)
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"


def zoned_text(moment: datetime) -> str:
    """Return a moment to the second, in local time, with the offset: 2026-11-26 14:05:12+01:00."""
    return str(moment.astimezone().replace(microsecond=0)).replace("+00:00", "Z")


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units: 12s, 3m04s, 2h05m, 4d03h."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def output_width() -> int | None:
    """Return the width of the terminal that shows the output; None if it is not for one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def has_styles(stream: TextIO) -> bool:
    """Return whether what is written to a stream may be bold or red."""
    is_plain = os.environ.get("TERM", "") in _PLAIN_TERMINALS or os.environ.get("NO_COLOR")
    return stream.isatty() and not is_plain


def is_terminal() -> bool:
    """Return whether a person at a terminal that can move its cursor reads and types."""
    can_move = os.environ.get("TERM", "") not in _PLAIN_TERMINALS
    return can_move and sys.stdin.isatty() and sys.stdout.isatty()


def bold(text: str) -> str:
    """Return a text that a terminal shows in bold."""
    return f"\x1b[1m{text}\x1b[0m"


def red(text: str) -> str:
    """Return a text that a terminal shows in red."""
    return f"\x1b[31m{text}\x1b[0m"
