"""Which past sessions a command shows, in which order, and what of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from sessiongate.gateway.cli.choice import (
    by_flag,
    columns_flag,
    core_order,
    counted_by,
    limit_flag,
    read_groups,
    read_keys,
    sort_flag,
    split_names,
)
from sessiongate.gateway.cli.texts import zoned_text
from sessiongate.gateway.moments import read_local_moment
from sessiongate.runtime.settings import setting, text

if TYPE_CHECKING:  # else imported when used: it is slow to import
    from sessiongate.v1.history_service_pb2 import PastSessionFilter
    from sessiongate.v1.session_service_pb2 import SessionFilter

# The core's orders by the names of REST's attributes.
_ORDERS = {"connected": "connect_time", "ended": "end_time"}
_USUAL_TIME = timedelta(hours=1)


def _moment(value: object) -> datetime:
    return read_local_moment(text(value), datetime.now())


def _names(value: object) -> tuple[str, ...]:
    """Read attributes' names with commas between them."""
    from sessiongate.gateway.cli.past_fields import past_field

    names = split_names(value)
    for name in names:
        past_field(name)
    return names


def _keys(value: object) -> tuple[str, ...]:
    return read_keys(value, _ORDERS, _names)


def past_counted_by() -> Sequence[str]:
    """Return what past sessions can be counted by."""
    return [name for name in counted_by() if name != "activity"]


def _groups(value: object) -> tuple[str, ...]:
    return read_groups(value, past_counted_by())


@dataclass(frozen=True)
class TimeChoice:
    """The flags that say when: at a moment, or between two."""

    at: datetime | None = setting(
        None,
        _moment,
        "Only sessions that were connected at this time: 14:05, '2026-11-26 14:05',"
        " 2026-11-26T14:05:00Z, or 15m for 15 minutes ago.",
        "TIME",
        is_flag_only=True,
    )
    since: datetime | None = setting(
        None,
        _moment,
        "Only sessions that were still connected at this time, or connected later."
        " Default: an hour before --until.",
        "TIME",
        is_flag_only=True,
    )
    until: datetime | None = setting(
        None,
        _moment,
        "Only sessions that connected before this time. Default: now.",
        "TIME",
        is_flag_only=True,
    )

    def __post_init__(self) -> None:
        """Raise `ValueError`, naming the setting, if the times do not go together."""
        now = datetime.now(UTC)
        if self.at is not None:
            if self.since is not None or self.until is not None:
                raise ValueError("at: cannot be combined with --since or --until; name one time")
            if self.at > now:
                raise ValueError(f"at: must not be in the future, got {zoned_text(self.at)}")
        elif self.since is not None and self.since >= (self.until or now):
            end = "the present" if self.until is None else f"--until ({zoned_text(self.until)})"
            raise ValueError(f"since: must be before {end}, got {zoned_text(self.since)}")

    @cached_property
    def start(self) -> datetime:
        """The beginning of the time that is asked about, if it is not a moment."""
        return self.since or (self.until or datetime.now(UTC)) - _USUAL_TIME

    def filter(self, sessions: SessionFilter) -> PastSessionFilter:
        """Return the core's filter of these sessions at that time."""
        from sessiongate.v1.history_service_pb2 import PastSessionFilter

        found = PastSessionFilter(sessions=sessions)
        if self.at is not None:
            found.at_time.FromDatetime(self.at)
            return found
        found.start_time.FromDatetime(self.start)
        if self.until is not None:
            found.end_time.FromDatetime(self.until)
        return found


@dataclass(frozen=True)
class PastOrder:
    """The flags that say in which order to show past sessions, and how many."""

    sort: tuple[str, ...] | None = sort_flag(_keys, "connected")
    limit: int | None = limit_flag()

    @property
    def in_core(self) -> str | None:
        """The core's order that this is; None if the sessions have to be sorted here."""
        return core_order(self.sort or ("connected",), _ORDERS)


@dataclass(frozen=True)
class PastColumnChoice:
    """The flag that says what to show of each past session."""

    columns: tuple[str, ...] | None = columns_flag(_names, "id,user,ended")


@dataclass(frozen=True)
class PastCountChoice:
    """The flag that says what to count past sessions by."""

    by: tuple[str, ...] | None = by_flag(
        _groups, "service, source, user, application, database, remote and state"
    )
