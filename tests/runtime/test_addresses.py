"""IP addresses, and hosts with ports."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from sessiongate.runtime.addresses import Address, is_ipv6, parse_ip, split_host, unmapped


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", ("localhost", None)),
        ("localhost:", ("localhost", None)),
        ("Db-1.internal:65535", ("Db-1.internal", 65535)),
        ("192.0.2.1:0", ("192.0.2.1", 0)),
        ("[::1]", ("::1", None)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
        ("localhost:65536", None),
        ("localhost:000080", None),
        ("localhost:٣", None),
        ("::1", None),
        ("[::1", None),
        ("[192.0.2.1]", None),
        ("[1234]:80", None),
        ("a" * 256, None),
        (":80", None),
        ("", None),
    ],
)
def test_a_host_is_split_from_its_port(text: str, expected: tuple[str, int | None] | None) -> None:
    assert split_host(text) == expected


@pytest.mark.parametrize("text", ["localhost", "localhost:", "localhost:65536", "[192.0.2.1]:80"])
def test_an_address_needs_a_host_and_a_port(text: str) -> None:
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_an_ipv4_mapped_address_is_ipv4(text: str, plain: str) -> None:
    assert unmapped(ip_address(text)) == ip_address(plain)


def test_only_ipv6_is_ipv6() -> None:
    texts = ("::1", "fe80::1%eth0", "127.0.0.1", "localhost", "")
    assert [is_ipv6(text) for text in texts] == [True, True, False, False, False]
    assert [parse_ip(text) for text in texts[3:]] == [None, None]
