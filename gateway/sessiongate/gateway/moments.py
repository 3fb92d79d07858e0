"""Reads moments, such as ``2026-11-26T14:05:00Z`` or ``-15m``, for the API and the command."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sessiongate.runtime.suggestion import quoted_name

ABSOLUTE = "a date and time with its offset, such as 2026-11-26T14:05:00Z"
RELATIVE = "how long ago, such as -15m (in s, m, h or d)"
AGE = RELATIVE.replace("-", "")  # which needs no sign on a command line
LOCAL = "a local time, such as 14:05 or 2026-11-26 14:05"
YEARS = range(1678, 2262)  # whose times the core can hold, in ns since the epoch in 64 bits

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_RELATIVE = re.compile(r"-([0-9]{1,9})([smhd])", re.ASCII)
_DATE, _CLOCK = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[0-9]{2}:[0-9]{2}"
_ABSOLUTE = re.compile(rf"{_DATE}[Tt]{_CLOCK}:[0-9]{{2}}(\.[0-9]+)?([Zz]|[+-]{_CLOCK})", re.ASCII)
_LOCAL = re.compile(rf"({_DATE})[Tt ]([0-9]{{1,2}}:[0-9]{{2}}(:[0-9]{{2}})?)", re.ASCII)
_LOCAL_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?", re.ASCII)


class MomentError(ValueError):
    """A text that is not a moment. Its message says what is allowed."""


def read_moment(text: str, now: datetime) -> datetime:
    """Return the moment, in UTC, that an RFC 3339 or a relative time means.

    Raises `MomentError`.
    """
    return _checked(text, _absolute(text) or _relative(text, now), f"{ABSOLUTE}, or {RELATIVE}")


def read_local_moment(text: str, now: datetime) -> datetime:
    """Return the moment, in UTC, that a time means to somebody in the time zone of ``now``.

    If ``now`` is naive, that is this machine's zone. A clock time without a date is today's, or
    yesterday's if today's is still to come. Without an offset, a time that the clock shows twice
    is the first. How long ago a moment was needs no ``-``. Raises `MomentError`.
    """
    ago = f"-{text.removeprefix('-')}"
    found = _absolute(text) or _relative(ago, now) or _shown(text, now)
    return _checked(text, found, f"{LOCAL}, {ABSOLUTE}, or {AGE}")


def write_moment(moment: datetime) -> str:
    """Return a moment in RFC 3339, in UTC, as `read_moment` reads it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _checked(text: str, found: datetime | None, allowed: str) -> datetime:
    if found is None:
        raise MomentError(f"must be {allowed}; got {quoted_name(text)}")
    if found.year not in YEARS:
        years = f"{YEARS.start} to {YEARS.stop - 1}"
        raise MomentError(f"must be a time of the years {years}; got {quoted_name(text)}")
    return found


# Each returns the moment that a text means, or None if it means none, such as a 13th month.


def _absolute(text: str) -> datetime | None:
    with suppress(ValueError, OverflowError):
        if _ABSOLUTE.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    return None


def _relative(text: str, now: datetime) -> datetime | None:
    with suppress(OverflowError):
        if found := _RELATIVE.fullmatch(text):
            return now.astimezone(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
    return None


def _shown(text: str, now: datetime) -> datetime | None:
    with suppress(ValueError, OverflowError):
        if found := _LOCAL.fullmatch(text):
            return _in_zone(f"{found[1]} {found[2].zfill(_width(found[2]))}", now)
        if _LOCAL_CLOCK.fullmatch(text):
            clock = text.zfill(_width(text))
            today = _in_zone(f"{now.date()} {clock}", now)
            if today <= now.astimezone(UTC):
                return today
            return _in_zone(f"{now.date() - timedelta(days=1)} {clock}", now)
    return None


def _width(clock: str) -> int:
    return 8 if clock.count(":") == 2 else 5


def _in_zone(text: str, now: datetime) -> datetime:
    """Return the moment at which a clock in the zone of ``now`` shows this."""
    return datetime.fromisoformat(text).replace(tzinfo=now.tzinfo).astimezone(UTC)
