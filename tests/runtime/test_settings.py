"""Settings in groups: what is allowed, and the errors for everything else."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sessiongate.runtime.settings import (
    count,
    one_of,
    read_group,
    seconds,
    setting,
    settings_of,
    size,
    switch,
)


@dataclass(frozen=True)
class Group:
    wait: float = setting(1.5, seconds, "Wait this long.", "SECONDS")
    many: int = setting(3, count, "So many.", "N")
    room: int = setting(0, size, "So much.", "BYTES")
    loud: bool = setting(False, switch, "Be loud.")
    form: str = setting("a", one_of("a", "b"), "How.", "FORM")


def test_a_group_is_read_from_text_and_from_values() -> None:
    text = {"wait": "2", "many": "4", "room": "0", "loud": "yes", "form": "b"}
    values = {"wait": 2, "many": 4, "room": 0, "loud": True, "form": "b"}
    assert read_group(Group, text) == read_group(Group, values) == Group(2.0, 4, 0, True, "b")
    assert read_group(Group, {"many": 1, "other": 5}) == Group(many=1)


def test_a_group_tells_what_its_settings_are() -> None:
    told = settings_of(Group)
    assert list(told) == ["wait", "many", "room", "loud", "form"]
    assert (told["wait"].help, told["wait"].metavar) == ("Wait this long.", "SECONDS")
    assert told["loud"].metavar is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("wait", 0, "wait: must be a number of seconds above 0 and up to 86400, got 0"),
        ("wait", True, "wait: must be a number of seconds above 0 and up to 86400, got True"),
        ("wait", "nan", "wait: must be a number of seconds above 0 and up to 86400, got 'nan'"),
        ("many", 0, "many: must be an integer of at least 1, got 0"),
        ("many", 1.5, "many: must be an integer of at least 1, got 1.5"),
        ("many", True, "many: must be an integer of at least 1, got True"),
        ("room", "-1", "room: must be an integer of at least 0, got '-1'"),
        ("room", False, "room: must be an integer of at least 0, got False"),
        ("loud", "maybe", "loud: must be one of true, yes, on, 1, false, no, off, 0, got 'maybe'"),
        ("form", "c", "form: must be one of a, b, got 'c'"),
    ],
)
def test_what_it_may_not_be_is_named_with_what_is_allowed(
    name: str, value: object, said: str
) -> None:
    with pytest.raises(ValueError, match=f"^{said}$"):
        read_group(Group, {name: value})
