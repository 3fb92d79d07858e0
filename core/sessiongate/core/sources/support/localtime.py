"""Times that a program writes in its own time zone, with the zone's abbreviation."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.sources.support.moments import timestamp

_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})(?: (\S+))?")
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})?")
_UTC = ("UTC", "GMT", "Z")
_KNOWN = 4096  # times; each is as short as a zone's name, or it could not be read


class LocalTime:
    """Reads times such as ``2026-11-23 20:30:00 CET``.

    ``zone`` is the program's time zone; None: the zone of this machine. An
    abbreviation alone is ambiguous ("IST" is three zones): it is compared with
    the zone's own, which also distinguishes the two hours of the same time when
    summer time ends.
    """

    def __init__(self, zone: ZoneInfo | None = None) -> None:
        self._zone = zone
        # Many clients are of the same second, and a text takes some microseconds.
        self._known = lru_cache(_KNOWN)(self._read)

    def read(self, text: str) -> Timestamp:
        """Return a moment, to the second, as an object that must not be changed.

        Raises `ValueError`, whose text states what was expected, but not what was found.
        """
        return self._known(text)

    def _read(self, text: str) -> Timestamp:
        try:
            return timestamp(int(self._aware(text).timestamp()) * 10**9)
        except (ValueError, OverflowError, OSError):  # near the calendar's ends each may be raised
            raise ValueError(f"expected a local time of {self._zone or 'this machine'}") from None

    def _aware(self, text: str) -> datetime:
        found = _TIME.fullmatch(text)
        if found is None:
            raise ValueError
        naive, name = datetime.fromisoformat(found[1]), found[2] or ""
        if name in _UTC:
            return naive.replace(tzinfo=UTC)
        if name.startswith(("+", "-")) and (offset := _OFFSET.fullmatch(name)):
            distance = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
            return naive.replace(tzinfo=timezone(-distance if offset[1] == "-" else distance))
        for fold in (0, 1):
            aware = naive.replace(tzinfo=self._zone, fold=fold)
            if self._zone is None:
                aware = aware.astimezone()
            if name in ("", aware.tzname()):
                return aware
        raise ValueError
