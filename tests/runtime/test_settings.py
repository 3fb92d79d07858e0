"""Settings in groups: what is allowed, and the errors for everything else."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sessiongate.runtime.settings import (
    given,
    integer_from,
    one_of,
    read_group,
    repeatable,
    seconds,
    setting,
    settings_of,
    switch,
    text,
)


@dataclass(frozen=True)
class Group:
    wait: float = setting(1.5, seconds, "Wait this long.", "SECONDS")
    many: int = setting(3, integer_from(1), "So many.", "N")
    room: int = setting(0, integer_from(0), "So much.", "BYTES")
    loud: bool = setting(False, switch, "Be loud.")
    form: str = setting("a", one_of("a", "b"), "How.", "FORM")


@dataclass(frozen=True)
class Wider(Group):
    names: tuple[str, ...] = repeatable((), text, "These names.", "NAME")


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


def test_a_group_names_its_own_settings_before_those_that_it_inherits() -> None:
    assert list(settings_of(Wider)) == ["names", *settings_of(Group)]


def test_a_repeatable_setting_is_read_from_a_list_as_it_was_given() -> None:
    group = read_group(Wider, {"names": ["a", "b"]})
    assert group.names == ("a", "b")
    assert read_group(Wider, given(group)) == group
    assert read_group(Wider, given(Wider())) == Wider()
    values: tuple[object, ...] = ("a", [])
    for value in values:
        with pytest.raises(ValueError, match=r"^names: must be a list of at least one element$"):
            read_group(Wider, {"names": value})


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


@pytest.mark.parametrize("value", ["48h", "0s"])
def test_a_duration_that_is_not_allowed_is_not_suggested(value: str) -> None:
    with pytest.raises(ValueError, match=f"got '{value}'$"):
        seconds(value)
