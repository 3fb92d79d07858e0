"""Reads moments, such as ``2026-11-26T14:05:00Z`` or ``-15m``, for the API and the command."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from sessiongate.runtime.suggestion import quoted_name

ABSOLUTE = "a date and time with its offset, such as 2026-11-26T14:05:00Z"
RELATIVE = "how long ago, such as -15m (in s, m, h or d)"
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
    return _read(text, now, None)


def read_local_moment(text: str, now: datetime) -> datetime:
    """Return the moment, in UTC, that a time means to somebody in the time zone of ``now``.

    A clock time without a date is today's, or yesterday's if today's is still to come. Without
    an offset, a time that the clock shows twice is the first. Raises `MomentError`.
    """
    return _read(text, now, now.astimezone() if now.tzinfo is None else now)


def write_moment(moment: datetime) -> str:
    """Return a moment in RFC 3339, in UTC, as `read_moment` reads it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read(text: str, now: datetime, local: datetime | None) -> datetime:
    found = _parsed(text, now, local)
    if found is not None and found.year in YEARS:
        return found
    if found is not None:
        years = f"{YEARS.start} to {YEARS.stop - 1}"
        raise MomentError(f"must be a time of the years {years}; got {quoted_name(text)}")
    allowed = f"{ABSOLUTE}, or {RELATIVE}"
    if local is not None:
        allowed = f"{LOCAL}, {allowed}"
    raise MomentError(f"must be {allowed}; got {quoted_name(text)}")


def _parsed(text: str, now: datetime, local: datetime | None) -> datetime | None:
    """Return the moment that a text means, or None if it means none."""
    try:
        if found := _RELATIVE.fullmatch(text):
            return now.astimezone(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        if _ABSOLUTE.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        if local is not None:
            if found := _LOCAL.fullmatch(text):
                return _in_zone(f"{found[1]} {found[2].zfill(_width(found[2]))}", local)
            if _LOCAL_CLOCK.fullmatch(text):
                clock = text.zfill(_width(text))
                today = _in_zone(f"{local.date()} {clock}", local)
                if today <= local:
                    return today
                return _in_zone(f"{local.date() - timedelta(days=1)} {clock}", local)
    except (ValueError, OverflowError):
        pass  # such as a 13th month, or a time before the year 1
    return None


def _width(clock: str) -> int:
    return 8 if clock.count(":") == 2 else 5


def _in_zone(text: str, local: datetime) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=local.tzinfo).astimezone(UTC)
