"""The hosts that the gateway answers for."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from starlette.types import Message, Receive, Scope, Send

from sessiongate.gateway.http.trusted_hosts import TrustedHosts
from sessiongate.gateway.settings import GatewayConfig
from tests.gateway.programs import LONG, Gateway, one_view

CONFIG = GatewayConfig(
    http="192.0.2.7:8989",
    public_url="https://Sessions.example:8443/x/",
    allowed_host=("Db.internal", "2001:db8::1"),
)


def ask(
    config: GatewayConfig, *hosts: str, http_version: str = "1.1", scheme: str = "http"
) -> tuple[int, str]:
    """Return the answer's status, and the URL that its links start with, or its error's code."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": scope["state"]["base_url"].encode()})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing to receive")

    headers = [(b"accept", b"*/*"), *((b"host", host.encode()) for host in hosts)]
    scope: Scope = {
        "type": "http",
        "scheme": scheme,
        "http_version": http_version,
        "headers": headers,
    }
    asyncio.run(TrustedHosts(app, config)(scope, receive, send))
    status, body = sent[0]["status"], sent[1]["body"].decode()
    if status == 200:
        return status, body
    [error] = json.loads(body)["errors"]
    assert error["status"] == str(status)
    assert error["source"] == {"header": "Host"}
    return status, error["code"]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:1",
        "localhost.",
        "Localhost.:8989",
        "127.0.0.1.:1",
        "db.internal.",
        "sessions.example.:443",
        "127.0.0.1:8989",
        "127.8.9.10",
        "[::1]:8989",
        "[0:0:0:0:0:0:0:1]",
        "192.0.2.7",
        "192.0.2.7:65535",
        "sessions.example",
        "SESSIONS.example:80",
        "db.internal:8989",
        "[2001:DB8::1]:8989",
    ],
)
def test_a_known_host_is_answered_for(host: str) -> None:
    assert ask(CONFIG, host) == (200, "https://Sessions.example:8443/x")
    assert ask(GatewayConfig(allowed_host=(name(host),)), host) == (200, f"http://{host}")


def test_an_allowed_host_may_have_a_dot_at_its_end() -> None:
    config = GatewayConfig(allowed_host=("db.internal.",))
    for host in ("db.internal", "db.internal."):
        assert ask(config, host) == (200, f"http://{host}")


@pytest.mark.parametrize("host", ["localhost:", "localhost.:", "127.0.0.1:", "[::1]:"])
def test_an_empty_port_is_the_default_one(host: str) -> None:
    assert ask(GatewayConfig(), host) == (200, f"http://{host[:-1]}")
    assert ask(GatewayConfig(), host, scheme="https") == (200, f"https://{host[:-1]}")


def name(host: str) -> str:
    return host.rpartition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "localhost..",
        ".",
        "evil.example.",
        "evil.example:8989",
        "192.0.2.8:8989",
        "127.0.0.1.evil.example",
        "[::2]",
        "0.0.0.0",
        "2130706433",
        "127.1",
    ],
)
def test_another_host_is_not(host: str) -> None:
    assert ask(CONFIG, host) == (421, "UNKNOWN_HOST")


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8989/x",
        "localhost/",
        "localhost#",
        "user@localhost",
        "localhost:port",
        "localhost:123456",
        "localhost:65536",
        "localhost::",
        ":",
        ":80",
        "local host",
        'localhost"',
        "[::1",
        "::1",
        "[127.0.0.1]",
        "lócalhost",
        "[localhost]x",
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    assert ask(CONFIG, host) == (400, "INVALID_HOST")


@pytest.mark.parametrize("hosts", [(), ("",), ("localhost", "evil.example")])
def test_exactly_one_host_is_needed(hosts: tuple[str, ...]) -> None:
    assert ask(CONFIG, *hosts) == (400, "INVALID_HOST")


@pytest.mark.parametrize("version", ["1", "1.0"])
@pytest.mark.parametrize("hosts", [(), ("",)])
def test_http_1_0_may_name_no_host(version: str, hosts: tuple[str, ...]) -> None:
    config = GatewayConfig(http="[2001:db8::2]:80")
    assert ask(config, *hosts, http_version=version) == (200, "http://[2001:db8::2]:80")
    assert ask(config, "evil.example", http_version=version) == (421, "UNKNOWN_HOST")


@pytest.mark.parametrize("listener", ["0.0.0.0:8989", "[::]:8989"])
def test_a_listener_on_every_address_is_known_by_each_and_by_no_name(listener: str) -> None:
    config = GatewayConfig(http=listener)
    assert ask(config, "192.0.2.8:8989") == (200, "http://192.0.2.8:8989")
    assert ask(config, "[2001:db8::9]") == (200, "http://[2001:db8::9]")
    assert ask(config, "evil.example") == (421, "UNKNOWN_HOST")


def test_links_have_the_scheme_of_the_request() -> None:
    assert ask(GatewayConfig(), "localhost", scheme="https") == (200, "https://localhost")


@one_view
@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        ("GET /v1/ HTTP/1.1\r\nHost: localhost\r\n", b"200"),
        ("GET /v1/ HTTP/1.1\r\nHost: localhost.:\r\n", b"200"),
        ("GET /v1/ HTTP/1.1\r\nHost: evil.example\r\n", b"421"),
        ("GET /nothing HTTP/1.1\r\nHost: evil.example\r\n", b"421"),
        ("POST /v1/ HTTP/1.1\r\nHost: evil.example\r\n", b"421"),
        ("GET /v1/ HTTP/1.1\r\n", b"400"),
        ("GET /v1/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", b"400"),
        ("GET /v1/ HTTP/1.0\r\n", b"200"),
    ],
)
def test_a_real_server_passes_the_host_on(
    gateway: Gateway, request_head: str, status: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=LONG) as connection:
        connection.sendall(f"{request_head}Connection: close\r\n\r\n".encode())
        answer = connection.makefile("rb").read()
    assert answer.split()[1] == status
    assert b"\r\ncontent-type: application/vnd.api+json\r\n" in answer
