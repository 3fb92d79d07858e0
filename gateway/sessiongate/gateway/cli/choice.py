"""Which sessions a command shows, and in which order: the core finds them.

These flags belong to one call of a command: they have no variable, and no key in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sessiongate.runtime.settings import (
    Network,
    duration,
    integer_from,
    must_be,
    network,
    repeatable,
    setting,
    text,
)
from sessiongate.runtime.suggestion import did_you_mean

if TYPE_CHECKING:  # else imported when used: it is slow to import
    from sessiongate.v1.session_service_pb2 import SessionFilter

# The core's orders by the names of REST's attributes; an idle time grows as its moment recedes.
_ORDERS = {
    "id": "id",
    "connected": "connect_time",
    "idle": "last_active_time desc",
    "activity.since": "activity.since_time",
}

# These match by the clock: no change of a session shows when it begins to match.
CLOCK_FLAGS = ("min_idle", "min_activity_duration")
# What these match is not known of a past session.
PRESENT_FLAGS = ("activity", *CLOCK_FLAGS)


def _state(value: object) -> str:
    from sessiongate.v1.states import STATE_WORDS

    return _word(value, dict(zip(STATE_WORDS.values(), STATE_WORDS, strict=True)))


def _activity(value: object) -> str:
    from sessiongate.v1.activities import ACTIVITY_WORDS

    return _word(value, dict(zip(ACTIVITY_WORDS.values(), ACTIVITY_WORDS, strict=True)))


def _word(value: object, known: Mapping[str, Any]) -> str:
    """Read one of REST's words."""
    if value not in known:
        allowed = f"one of {', '.join(map(repr, known))}"
        raise must_be(allowed, value, did_you_mean(str(value), known))
    return str(value)


def split_names(value: object) -> tuple[str, ...]:
    """Read names with commas between them."""
    return tuple(name.strip() for name in text(value).split(","))


def _names(value: object) -> tuple[str, ...]:
    """Read attributes' names with commas between them."""
    from sessiongate.gateway.cli.session_fields import session_field

    names = split_names(value)
    for name in names:
        session_field(name)
    return names


def counted_by() -> Sequence[str]:
    """Return what sessions can be counted by."""
    from sessiongate.gateway.representation.count import COUNTED_BY

    return [*COUNTED_BY]


def read_groups(value: object, known: Sequence[str] | None = None) -> tuple[str, ...]:
    """Read what to count by, by default what sessions are: names with commas between them."""
    known = known or counted_by()
    names = split_names(value)
    for name in names:
        if name not in known:
            raise must_be(f"among {', '.join(known)}", name, did_you_mean(name, known))
    if len(names) > 3 or len({*names}) < len(names):
        raise must_be("one to three different names", value)
    return names


def read_keys(
    value: object, orders: Mapping[str, str], read_names: Callable[[object], object]
) -> tuple[str, ...]:
    """Read attributes to sort by, with commas between them, and - before a descending one.

    ``orders`` are the core's own; ``read_names`` refuses what is no attribute.
    """
    keys = split_names(value)
    if unordered := [key for key in keys if key.removeprefix("-") not in orders]:
        read_names(",".join(key.removeprefix("-") for key in unordered))
    return keys


def _keys(value: object) -> tuple[str, ...]:
    return read_keys(value, _ORDERS, _names)


def core_order(keys: Sequence[str], orders: Mapping[str, str]) -> str | None:
    """Return the core's order that sorts by these, if it has one; ``orders`` are its own."""
    first, *more = keys
    order = orders.get(first.removeprefix("-"))
    if more or order is None:
        return None
    name, _, direction = order.partition(" ")
    return name if bool(direction) == first.startswith("-") else f"{name} desc"


def _chosen(read: Callable[[object], Any], help: str, metavar: str) -> tuple[Any, ...]:
    return repeatable((), read, f"{help}; repeatable.", metavar, is_flag_only=True)


def _naming(read: Callable[[object], tuple[str, ...]], help: str) -> tuple[str, ...] | None:
    return setting(None, read, help, "NAMES", is_flag_only=True)


def sort_flag(read: Callable[[object], tuple[str, ...]], usual: str) -> tuple[str, ...] | None:
    """Return the flag that says what to sort by, and is ``usual`` by default."""
    help = "Sort by these attributes, with commas between them; - before one sorts in descending"
    return _naming(read, f"{help} order. Default: {usual}.")


def limit_flag() -> int | None:
    """Return the flag that says how many sessions to show."""
    help = "Show at most this many sessions."
    return setting(None, integer_from(1), help, "N", is_flag_only=True)


def by_flag(read: Callable[[object], tuple[str, ...]], names: str) -> tuple[str, ...] | None:
    """Return the flag that says what to count by: some of ``names``."""
    help = f"Count the sessions that have the same values of these, one to three of {names},"
    return _naming(read, f"{help} with commas between them.")


def columns_flag(read: Callable[[object], tuple[str, ...]], example: str) -> tuple[str, ...] | None:
    """Return the flag that says which attributes to show."""
    return _naming(read, f"Show these attributes, with commas between them, such as {example}.")


@dataclass(frozen=True)
class SessionChoice:
    """The flags that say which sessions to show: those that match one value of each flag."""

    user: tuple[str, ...] = _chosen(text, "Only sessions of this user", "NAME")
    application: tuple[str, ...] = _chosen(text, "Only sessions of this application", "NAME")
    database: tuple[str, ...] = _chosen(text, "Only sessions on this database", "NAME")
    service: tuple[str, ...] = _chosen(text, "Only sessions on this service", "NAME")
    source: tuple[str, ...] = _chosen(text, "Only sessions that this source reports", "NAME")
    remote: tuple[Network, ...] = _chosen(
        network, "Only clients at this address, or in this network", "NETWORK"
    )
    state: tuple[str, ...] = _chosen(
        _state, "Only sessions in this state, such as 'Session started'", "WORDS"
    )
    activity: tuple[str, ...] = _chosen(
        _activity, "Only sessions that are doing this, such as 'idle in transaction'", "WORDS"
    )
    min_idle: float | None = setting(
        None, duration, "Only sessions idle for this long.", "DURATION", is_flag_only=True
    )
    min_activity_duration: float | None = setting(
        None,
        duration,
        "Only sessions that have been doing the same for this long, such as 90, 5m or 2h.",
        "DURATION",
        is_flag_only=True,
    )

    def filter(self) -> SessionFilter:
        """Return the core's filter."""
        from sessiongate.v1.activities import activity_of
        from sessiongate.v1.session_service_pb2 import SessionFilter
        from sessiongate.v1.states import state_of

        found = SessionFilter(
            users=self.user,
            applications=self.application,
            databases=self.database,
            services=self.service,
            sources=self.source,
            remotes=map(str, self.remote),
            states=map(state_of, self.state),
            activities=[state for word in self.activity if (state := activity_of(word))],
        )
        for name in CLOCK_FLAGS:
            if (least := getattr(self, name)) is not None:
                getattr(found, name).FromNanoseconds(round(least * 1e9))
        return found


@dataclass(frozen=True)
class SessionOrder:
    """The flags that say in which order to show sessions, and how many."""

    sort: tuple[str, ...] | None = sort_flag(_keys, "id")
    limit: int | None = limit_flag()

    @property
    def in_core(self) -> str | None:
        """The core's order that this is; None if the sessions have to be sorted here."""
        return core_order(self.sort or ("id",), _ORDERS)


@dataclass(frozen=True)
class CountChoice:
    """The flag that says what to count sessions by."""

    by: tuple[str, ...] | None = by_flag(
        read_groups, "service, source, user, application, database, remote, state and activity"
    )


@dataclass(frozen=True)
class ColumnChoice:
    """The flag that says what to show of each session."""

    columns: tuple[str, ...] | None = columns_flag(_names, "id,user,activity.state")
