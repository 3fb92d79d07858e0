"""Cells of PostgreSQL's protocol, and what becomes of odd ones."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from core.sources.base import Unreadable, UnreadableError
from core.sources.cells import (
    Cell,
    Members,
    big,
    ip_address,
    moment,
    octets,
    tcp_port,
    truth,
)


@pytest.mark.parametrize(
    ("read", "cell", "value"),
    [
        (big, b"-9223372036854775808", -(2**63)),
        (tcp_port, b"65535", 65535),
        (ip_address, b"2001:DB8::1", "2001:DB8::1"),
        (truth, b"t", True),
        (truth, b"f", False),
        (octets, b"\\x00ff", b"\0\xff"),
        (octets, b"\\x", b""),
    ],
)
def test_a_cell_is_read(read: object, cell: bytes, value: object) -> None:
    assert callable(read)
    assert read(cell) == value


@pytest.mark.parametrize(
    ("read", "cells"),
    [
        (
            big,
            [b"", b"x", b"1.5", b"1e3", b" 1", b"+1", b"\xd9\xa1", b"9" * 5000, b"1" + b"0" * 19],
        ),
        (tcp_port, [b"0", b"-1", b"65536", b"http"]),
        (moment, [b"infinity", b"-62135596800000000", b"253402300799000000", b"NaN"]),
        (ip_address, [b"", b"db1", b"10.0.0.256", b"10.0.0.1/32", b"\xff"]),
        (truth, [b"", b"true", b"1"]),
        (octets, [b"", b"abc", b"\\x0", b"\\xzz", b"\\x\xff"]),
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

    members = Members("LIST", Row(b"secret", None, b"t"))
    assert members.read("port", tcp_port, "port") is None
    assert members.read("seen", moment, "last_active_time") is None
    assert members.read("ssl", truth) is True
    expected = "LIST port: expected a whole number from 1 to 65535"
    assert members.unreadable == (Unreadable(expected, ("port",)),)
