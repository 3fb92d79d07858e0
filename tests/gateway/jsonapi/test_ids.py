"""Ids that are numbers of 64 bits."""

from __future__ import annotations

import pytest

from sessiongate.gateway.jsonapi.ids import parse_id


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("007", 7),
        ("0" * 5000 + "7", 7),
        (str(2**64 - 1), 2**64 - 1),
        (str(2**64), None),
        ("9" * 5000, None),
        ("0", None),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1_0", None),
        (" 1", None),
        ("1\n", None),
        ("٣", None),
        ("²", None),
    ],
)
def test_an_id_is_a_number_of_64_bits(text: str, number: int | None) -> None:
    assert parse_id(text) == number
