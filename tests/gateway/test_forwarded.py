"""Proxies' statements about their callers, and which proxies are trusted."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from sessiongate.gateway.http.forwarded import Forwarded
from tests.gateway.asgi import Exchange

TRUSTED = [ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def seen(*headers: tuple[str, str], client: str = "127.0.0.1") -> tuple[str, str, str]:
    """Return client, scheme and Host as the application sees them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        found.append((scope["client"][0], scope["scheme"], b",".join(hosts).decode("latin-1")))

    found: list[tuple[str, str, str]] = []
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    exchange = Exchange(headers=raw, client=(client, 4711))
    asyncio.run(exchange.run(Forwarded(app, TRUSTED)))
    return found[0]


FOR, PROTO, HOST, NEW = "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ("127.0.0.1", "http", "localhost")),
        ([(FOR, "192.0.2.1")], ("192.0.2.1", "http", "localhost")),
        ([(PROTO, "https"), (HOST, "a.example")], ("127.0.0.1", "https", "a.example")),
        # Each proxy appends its own; anyone may have written what precedes the first trusted one.
        ([(FOR, "198.51.100.9, 192.0.2.1, 10.0.0.1")], ("192.0.2.1", "http", "localhost")),
        ([(FOR, "192.0.2.1"), (FOR, "10.0.0.1")], ("192.0.2.1", "http", "localhost")),
        ([(FOR, "10.0.0.2, 10.0.0.1")], ("10.0.0.2", "http", "localhost")),
        ([(FOR, "[2001:db8::1]:4711, fd00::1")], ("2001:db8::1", "http", "localhost")),
        ([(FOR, "192.0.2.1, [::ffff:10.0.0.1]:80")], ("192.0.2.1", "http", "localhost")),
        ([(FOR, "::ffff:192.0.2.1")], ("192.0.2.1", "http", "localhost")),
        ([(FOR, "fe80::1%x")], ("127.0.0.1", "http", "localhost")),
        ([(FOR, "192.0.2.1:65536")], ("127.0.0.1", "http", "localhost")),
        ([(FOR, "192.0.2.1:4711")], ("192.0.2.1", "http", "localhost")),
        ([(FOR, "unknown, 10.0.0.1")], ("127.0.0.1", "http", "localhost")),
        (
            [(FOR, "192.0.2.1, 10.0.0.1"), (PROTO, "https"), (HOST, "a.example")],
            ("192.0.2.1", "https", "a.example"),
        ),
        (
            [(FOR, "192.0.2.1, 10.0.0.1"), (PROTO, "https, http"), (HOST, "a.example, b.example")],
            ("192.0.2.1", "https", "a.example"),
        ),
        ([(FOR, "192.0.2.1"), (PROTO, "https, http")], ("192.0.2.1", "http", "localhost")),
        ([(FOR, "192.0.2.1"), (PROTO, "gopher")], ("192.0.2.1", "http", "localhost")),
        (
            [(NEW, 'for="[2001:db8::1]:4711";proto=https;host=a.example')],
            ("2001:db8::1", "https", "a.example"),
        ),
        (
            [
                (
                    NEW,
                    "for=198.51.100.9, for=192.0.2.1;PROTO=https, for=10.0.0.1;proto=http",
                )
            ],
            ("192.0.2.1", "https", "localhost"),
        ),
        ([(NEW, 'for=192.0.2.1;host="a\\.example"')], ("192.0.2.1", "http", "a.example")),
        ([(NEW, "for=_hidden;proto=https")], ("127.0.0.1", "https", "localhost")),
        ([(NEW, "for=192.0.2.1, broken; =")], ("127.0.0.1", "http", "localhost")),
        ([(NEW, "for=192.0.2.1"), (FOR, "192.0.2.2")], ("127.0.0.1", "http", "localhost")),
    ],
)
def test_trusted_proxies_are_believed(
    headers: list[tuple[str, str]], expected: tuple[str, str, str]
) -> None:
    assert seen(*headers) == expected


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::7"])
def test_nobody_else_is(client: str) -> None:
    headers = [(FOR, "192.0.2.1"), (PROTO, "https"), (HOST, "a.example")]
    assert seen(*headers, client=client) == (client, "http", "localhost")
    assert seen((NEW, "for=192.0.2.1;proto=https"), client=client)[1] == "http"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([FOR, PROTO, HOST, NEW]),
            st.text(st.characters(max_codepoint=255)) | st.text('for=;,"\\1.:[]', max_size=40),
        )
    )
)
def test_whatever_is_sent_there_is_a_client_and_a_scheme(headers: list[tuple[str, str]]) -> None:
    _, scheme, _ = seen(*headers)
    assert scheme in ("http", "https")
