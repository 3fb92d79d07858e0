"""Settings that belong together, as the fields of a frozen dataclass.

A field holds everything about a setting: its name, default, allowed values and effect.
The command line makes options of the fields; the core reads its own from its
configuration, in the same words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from sessiongate.runtime.suggestion import did_you_mean
from sessiongate.runtime.urls import redacted

_Group = TypeVar("_Group")
_T = TypeVar("_T")

MAX_SECONDS = 86400.0  # seconds, of any setting
# Durations as others write them, and their units in seconds.
_LENGTH = re.compile(r"([0-9]{1,6}(?:\.[0-9]+)?) ?(ms|s|m|min|h)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600}
_SWITCH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a field holds besides its name and default.

    ``read`` takes text, or a file's value, and raises `ValueError`, whose text names the
    value and what is allowed.
    """

    read: Callable[[object], Any]
    help: str
    metavar: str | None = None  # None if the setting is a switch


def setting(default: _T, read: Callable[[object], _T], help: str, metavar: str | None = None) -> _T:
    """Return a field of a group."""
    made: _T = field(default=default, metadata={"setting": Setting(read, help, metavar)})
    return made


def settings_of(group: type[Any]) -> Mapping[str, Setting]:
    """Return a group's settings by name."""
    return {each.name: each.metadata["setting"] for each in fields(group)}


def read_group(group: type[_Group], values: Mapping[str, object]) -> _Group:
    """Make a group from those of ``values`` that are its. Raises `ValueError`, naming the key."""
    read = {}
    for name, each in settings_of(group).items():
        if name in values:
            try:
                read[name] = each.read(values[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return group(**read)


def given(group: Any) -> dict[str, Any]:
    """Return a group's settings that are not None, as values to read it from."""
    return {name: value for name, value in asdict(group).items() if value is not None}


def count(value: object) -> int:
    """Read a whole number, 1 or more."""
    number = _whole(value)
    if number is None or number < 1:
        raise ValueError(f"{redacted(value)} is not a whole number above 0")
    return number


def up_to(most: int) -> Callable[[object], int]:
    """Return a reader of whole numbers from 1 to ``most``."""
    return between(1, most)


def between(least: int, most: int) -> Callable[[object], int]:
    """Return a reader of whole numbers from ``least`` to ``most``."""

    def read(value: object) -> int:
        number = _whole(value)
        if number is None or not least <= number <= most:
            raise ValueError(f"{redacted(value)} is not a whole number from {least} to {most}")
        return number

    return read


def size(value: object) -> int:
    """Read a whole number, 0 or more."""
    number = _whole(value)
    if number is None or number < 0:
        raise ValueError(f"{redacted(value)} is not a whole number, 0 or more")
    return number


def _whole(value: object) -> int | None:
    if isinstance(value, str | int) and not isinstance(value, bool):
        with suppress(ValueError):
            return int(value)
    return None


def seconds(value: object) -> float:
    """Read a duration in seconds."""
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with suppress(ValueError):
            number = float(value)
    if not 0 < number <= MAX_SECONDS:
        meant = ""
        if found := _LENGTH.fullmatch(str(value)):
            meant = f"; did you mean {float(found[1]) * _UNITS[found[2]]:g}?"
        raise ValueError(
            f"{redacted(value)} is not a number of seconds, above 0 and up to"
            f" {MAX_SECONDS:.0f}{meant}"
        )
    return number


def switch(value: object) -> bool:
    """Read whether something is on."""
    try:
        return _SWITCH[str(value).lower()]
    except KeyError:
        raise ValueError(f"{redacted(value)} is none of {', '.join(_SWITCH)}") from None


def mode(value: object) -> str:
    """Read who may use a file: digits as chmod takes them. Its owner always may."""
    found = str(value).removeprefix("0o").lstrip("0")
    if not re.fullmatch("6[0-7][0-7]|7[0-7][0-7]", found):
        raise ValueError(f"{redacted(value)} is not three digits as chmod has them, 600 to 777")
    return found


def text(value: object) -> str:
    """Read text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{redacted(value)} is not a string of one character or more")
    return value


def one_of(*words: str) -> Callable[[object], Any]:
    """Return a reader of one of some words."""

    def word(value: object) -> str:
        if value not in words:
            hint = did_you_mean(str(value), words)
            raise ValueError(f"{redacted(value)} is none of {', '.join(words)}{hint}")
        return str(value)

    return word
