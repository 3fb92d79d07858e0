"""Groups of settings: frozen dataclasses, each field of which declares one setting.

A field holds everything about a setting: its name, default, allowed values and help. The
commands turn fields into options; the core reads its configuration with the same readers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeAlias, TypeVar

from sessiongate.runtime.addresses import Address
from sessiongate.runtime.suggestion import did_you_mean
from sessiongate.runtime.urls import harmless

Network: TypeAlias = IPv4Network | IPv6Network

_Group = TypeVar("_Group")
_T = TypeVar("_T")

MAX_SECONDS = 86400.0  # seconds, of any setting
# Durations as others write them, and their units in seconds.
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|min|h|d|)")
_UNITS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_LONGEST = 10_000 * _UNITS["d"]
_SWITCH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything about a setting except its name.

    ``read`` takes text, or a value from a file, and raises `ValueError`, whose text states what
    is allowed and what was given.
    """

    default: Any
    read: Callable[[object], Any]
    help: str
    metavar: str | None = None  # None if the setting is a flag without a value
    is_repeatable: bool = False  # the field is a tuple; ``read`` reads one element
    may_hold_password: bool = False  # a value that does is refused on the command line
    is_flag_only: bool = False  # it has no variable, and no key in a file
    find_default: Callable[[], object] | None = None  # finds what commands use as default
    default_help: str | None = None  # describes that default


def setting(
    default: _T, read: Callable[[object], _T], help: str, metavar: str | None = None, **more: Any
) -> _T:
    """Return a field of a group; ``more`` are members of `Setting`."""
    declared = Setting(default, read, help, metavar, **more)
    made: _T = field(default=default, metadata={"setting": declared})
    return made


def repeatable(
    default: tuple[_T, ...], read: Callable[[object], _T], help: str, metavar: str, **more: Any
) -> tuple[_T, ...]:
    """Return a field of a group that has many values."""
    return setting(default, read, help, metavar, is_repeatable=True, **more)  # type: ignore[arg-type] # of one


def settings_of(group: type[Any]) -> Mapping[str, Setting]:
    """Return a group's settings by name: first its own, then those that it inherits."""
    return {
        each.name: each.metadata["setting"]
        for each in sorted(fields(group), key=lambda each: each.name not in group.__annotations__)
        if "setting" in each.metadata
    }


def read_group(group: type[_Group], values: Mapping[str, object]) -> _Group:
    """Make a group from those of ``values`` that are its. Raises `ValueError`, naming the key."""
    return group(**read_values(group, values))


def read_values(group: type[Any], values: Mapping[str, object]) -> dict[str, Any]:
    """Read those of ``values`` that are a group's. Raises `ValueError`, naming the key."""
    read = {}
    for name, each in settings_of(group).items():
        if name in values:
            try:
                read[name] = _read(each, values[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return read


def _read(setting: Setting, value: object) -> object:
    if not setting.is_repeatable:
        return setting.read(value)
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of at least one element")
    return tuple(map(setting.read, value))


def given(*groups: Any) -> dict[str, Any]:
    """Return the settings of groups that have a value, as values to read them from."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for group in groups
        for name in settings_of(type(group))
        if (value := getattr(group, name)) not in (None, ())
    }


def must_be(allowed: str, value: object, hint: str = "") -> ValueError:
    """Return the error for a value that is not allowed; it never repeats a password."""
    got = f", got {value!r}" if harmless(value) else ""
    return ValueError(f"must be {allowed}{got}{hint}")


def integer_from(least: int, most: int | None = None) -> Callable[[object], int]:
    """Return a reader of integers from ``least`` to ``most``, if there is a largest one."""
    allowed = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(value: object) -> int:
        number = None
        if isinstance(value, str | int) and not isinstance(value, bool):
            with suppress(ValueError):
                number = int(value)
        if number is None or number < least or (most is not None and number > most):
            raise must_be(f"an integer {allowed}", value)
        return number

    return read


def seconds(value: object) -> float:
    """Read a duration in seconds."""
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with suppress(ValueError):
            number = float(value)
    if not 0 < number <= MAX_SECONDS:
        meant = ""
        if found := _DURATION.fullmatch(str(value)):
            number = float(found[1]) * _UNITS[found[2]]
            if 0 < number <= MAX_SECONDS:
                meant = f"; did you mean {number:.10g}?"
        raise must_be(f"a number of seconds above 0 and up to {MAX_SECONDS:.0f}", value, meant)
    return number


def duration(value: object) -> float:
    """Read a duration with its unit, or in seconds; return seconds."""
    found = _DURATION.fullmatch(str(value))
    seconds = float(found[1]) * _UNITS[found[2]] if found is not None else None
    if seconds is None or seconds > _LONGEST:
        raise must_be("a duration of at most 10000d, such as 90, 90s, 5m, 2h or 1d", value)
    return seconds


def switch(value: object) -> bool:
    """Read a Boolean."""
    try:
        return _SWITCH[str(value).lower()]
    except KeyError:
        raise must_be(f"one of {', '.join(_SWITCH)}", value) from None


def mode(value: object) -> str:
    """Read a file mode, as for chmod, with which the owner can read and write."""
    found = str(value).removeprefix("0o").lstrip("0")
    if not re.fullmatch("6[0-7][0-7]|7[0-7][0-7]", found):
        raise must_be("three octal digits from 600 to 777, as for chmod", value)
    return found


def text(value: object) -> str:
    """Read a non-empty string."""
    if not isinstance(value, str) or not value:
        raise must_be("a non-empty string", value)
    return value


def one_of(*words: str) -> Callable[[object], Any]:
    """Return a reader that accepts only these words."""

    def word(value: object) -> str:
        if value not in words:
            hint = did_you_mean(str(value), words)
            raise must_be(f"one of {', '.join(words)}", value, hint)
        return str(value)

    return word


def listener(value: object) -> str:
    """Read HOST:PORT."""
    try:
        return str(Address.parse(str(value)))
    except ValueError:
        allowed = "HOST:PORT, such as 127.0.0.1:8989 or [::1]:8989, with a port from 0 to 65535"
        raise must_be(allowed, value, _nearest_address(str(value))) from None


def _nearest_address(text: str) -> str:
    """Suggest what an address without a host or with a scheme meant, if that is clear."""
    if not harmless(text):
        return ""
    place = text.partition("://")[2] or text
    place = place.partition("/")[0].removeprefix("*")
    if place.isdecimal() or place.startswith(":"):
        place = ("0.0.0.0:" if text.startswith("*") else "127.0.0.1:") + place.lstrip(":")
    try:
        return f"; did you mean {str(Address.parse(place))!r}?"
    except ValueError:
        return ""


def grpc_listener(value: object) -> str:
    """Read HOST:PORT or unix:PATH."""
    if isinstance(value, str) and value.startswith("unix:"):
        if value == "unix:":
            raise must_be("unix:PATH, such as unix:/run/core.sock", value)
        return value
    return listener(value)


def network(value: object) -> Network:
    """Read a network, or one address."""
    try:
        return ip_network(str(value))
    except ValueError:
        meant = ""
        with suppress(ValueError):  # an address in a network
            meant = f"; did you mean '{ip_network(str(value), strict=False)}'?"
        raise must_be("a network, such as 10.0.0.0/8, or an IP address", value, meant) from None
