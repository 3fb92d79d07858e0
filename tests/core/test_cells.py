"""Cells of PostgreSQL's protocol, and how odd ones are read."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from sessiongate.core.sources.base import Unreadable, UnreadableError
from sessiongate.core.sources.support.cells import (
    CODECS,
    Cell,
    RowReader,
    decode_text,
    read_address,
    read_bigint,
    read_boolean,
    read_octets,
    read_port,
    read_timestamp,
)


@pytest.mark.parametrize(
    ("cell", "encoding", "expected"),
    [
        ("Ýrsa".encode(), None, "Ýrsa"),
        ("Ýrsa".encode(), "WIN1252", "Ýrsa"),
        ("Zoë".encode("cp1252"), "WIN1252", "Zoë"),
        ("Зоя".encode("koi8_r"), "KOI8R", "Зоя"),
        ("山".encode("euc_jp"), "EUC_JP", "山"),
        (b"caf\xe9", "SQL_ASCII", "caf\ufffd"),
        (b"caf\x9d", "WIN1252", "caf\ufffd"),  # which that code page also lacks
        (b"", "LATIN1", ""),
    ],
)
def test_a_text_is_utf8_or_of_the_database(
    cell: bytes, encoding: str | None, expected: str
) -> None:
    assert decode_text(cell, CODECS.get(encoding or "")) == expected


@pytest.mark.parametrize("codec", [None, "cp1252", "euc_jp"])
def test_a_cut_within_a_character_does_not_change_how_the_rest_is_read(codec: str | None) -> None:
    for length in range(8):
        assert decode_text("€€".encode()[:length], codec, is_cut=True) == "€€"[: length // 3]


def test_what_is_cut_may_be_of_the_database() -> None:
    assert decode_text("éa€".encode("cp1252"), "cp1252", is_cut=True) == "éa€"
    assert decode_text(b"\xff\xe2", is_cut=True) == "\ufffd"


def test_python_knows_every_codec() -> None:
    for codec in CODECS.values():
        assert "abc".encode(codec) == b"abc"


@pytest.mark.parametrize(
    ("read", "cell", "value"),
    [
        (read_bigint, b"-9223372036854775808", -(2**63)),
        (read_port, b"65535", 65535),
        (read_address, b"2001:DB8::1", "2001:DB8::1"),
        (read_boolean, b"t", True),
        (read_boolean, b"f", False),
        (read_octets, b"\\x00ff", b"\0\xff"),
        (read_octets, b"\\x", b""),
    ],
)
def test_a_cell_is_read(read: object, cell: bytes, value: object) -> None:
    assert callable(read)
    assert read(cell) == value


@pytest.mark.parametrize(
    ("read", "cells"),
    [
        (
            read_bigint,
            [b"", b"x", b"1.5", b"1e3", b" 1", b"+1", b"\xd9\xa1", b"9" * 5000, b"1" + b"0" * 19],
        ),
        (read_port, [b"0", b"-1", b"65536", b"http"]),
        (read_timestamp, [b"infinity", b"-62135596800000000", b"253402300799000000", b"NaN"]),
        (read_address, [b"", b"db1", b"10.0.0.256", b"10.0.0.1/32", b"\xff"]),
        (read_boolean, [b"", b"true", b"1"]),
        (read_octets, [b"", b"abc", b"\\x0", b"\\xzz", b"\\x\xff"]),
    ],
)
def test_what_a_cell_should_not_hold_is_refused(read: object, cells: list[bytes]) -> None:
    assert callable(read)
    for cell in cells:
        with pytest.raises(UnreadableError):
            read(cell)


def test_members_that_cannot_be_read_are_remembered() -> None:
    class Row(NamedTuple):
        port: Cell
        seen: Cell
        ssl: Cell

    members = RowReader("LIST", Row(b"secret", None, b"t"))
    assert members.read("port", read_port, "port") is None
    assert members.read("seen", read_timestamp, "last_active_time") is None
    assert members.read("ssl", read_boolean) is True
    expected = "LIST port: expected an integer from 1 to 65535"
    assert members.unreadable == (Unreadable(expected, ("port",)),)
