"""Every invalid value of the configuration is named, with what is allowed."""

from __future__ import annotations

import dataclasses

import pytest

from sessiongate.gateway.limits import Limits
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.settings import read_group
from sessiongate.runtime.telemetry.logs import LogSettings


def test_the_defaults_are_the_documented_ones() -> None:
    assert dataclasses.asdict(GatewayConfig()) == {
        "http": "127.0.0.1:8989",
        "core": None,
        "public_url": None,
        "allowed_host": (),
        "core_timeout": 5.0,
        "replica": True,
        "replica_staleness": 2.0,
        "workers": 1,
        "protection": dataclasses.asdict(Protection()),
        "core_ca": None,
        "core_cert": None,
        "core_key": None,
        "core_token_file": None,
        "allowed_origin": (),
        "trusted_proxies": (),
        "ui": True,
        "metrics": None,
        "limits": dataclasses.asdict(Limits()),
        "logs": dataclasses.asdict(LogSettings()),
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("http", "[::1]:0"),
        ("public_url", "https://sessions.example"),
        ("public_url", "http://[2001:db8::1]:8080/some/path/"),
        ("allowed_host", ["sessions.example", "192.0.2.1", "::1"]),
        ("core_timeout", 1),
    ],
)
def test_a_good_value_is_taken(key: str, value: object) -> None:
    taken = getattr(read_group(GatewayConfig, {key: value}), key)
    assert (list(taken) if key == "allowed_host" else taken) == value


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("db-1.internal:50051", ("db-1.internal:50051",)),
        ("unix:/run/core.sock", ("unix:/run/core.sock",)),
        ("a:1,b:2, [::1]:3", ("a:1", "b:2", "[::1]:3")),
        (["a:1", "unix:/run/core.sock"], ("a:1", "unix:/run/core.sock")),
        ("a:1,b:2,a:1", ("a:1", "b:2")),
    ],
)
def test_cores_are_a_list(given: object, read: tuple[str, ...]) -> None:
    assert read_group(GatewayConfig, {"core": given}).core_addresses == read


@pytest.mark.parametrize("given", ["a:1,", ",", "a:1;b:2", "a:1,b", ["a:1", ""], [], ["a:1,b:2"]])
def test_each_core_must_be_an_address(given: object) -> None:
    with pytest.raises(ValueError, match=r"^core: must be HOST:PORT"):
        read_group(GatewayConfig, {"core": given})


@pytest.mark.parametrize("given", ["app:hun,ter2@a:1", ["http://app:hun,ter2@a:1", "b:2"]])
def test_no_part_of_a_password_is_repeated(given: object) -> None:
    with pytest.raises(ValueError, match=r"^core: must be HOST:PORT") as caught:
        read_group(GatewayConfig, {"core": given})
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://Dashboard.example", "https://dashboard.example"),
        ("https://dashboard.example:443", "https://dashboard.example"),
        ("http://dashboard.example:80", "http://dashboard.example"),
        ("https://dashboard.example:80", "https://dashboard.example:80"),
        ("http://localhost:03000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[2001:DB8:0:0::1]:80", "http://[2001:db8::1]"),
    ],
)
def test_origins_are_read_as_browsers_send_them(given: str, sent: str) -> None:
    assert read_group(GatewayConfig, {"allowed_origin": [given]}).allowed_origin == (sent,)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("http", "8989", "HOST:PORT"),
        ("http", ":8989", "HOST:PORT"),
        ("http", "127.0.0.1:65536", "65535"),
        ("http", "unix:/run/gateway.sock", "HOST:PORT"),
        ("core", "core", "HOST:PORT"),
        ("core", "unix:", "unix:/run/core.sock"),
        ("core", "127.0.0.1:0", "1 to 65535"),
        ("public_url", "sessions.example", "http(s)://HOST"),
        ("public_url", "ftp://sessions.example", "http(s)://HOST"),
        ("public_url", "https:///v1", "http(s)://HOST"),
        ("public_url", "https://sessions.example:0", "http(s)://HOST"),
        ("public_url", "https://sessions.example:99999", "http(s)://HOST"),
        ("public_url", "https://[::1", "http(s)://HOST"),
        ("public_url", "https://sessions.example?a=b", "http(s)://HOST"),
        ("public_url", "https://sessions.example#a", "http(s)://HOST"),
        ("public_url", 'https://sessions.example/"', "http(s)://HOST"),
        ("public_url", "https://sessions.example/'", "http(s)://HOST"),
        ("allowed_host", "https://sessions.example", "without a port"),
        ("allowed_host", "sessions.example:80", "without a port"),
        ("allowed_host", "*", "without a port"),
        ("allowed_host", "", "a non-empty string"),
        *(
            ("allowed_origin", origin, "an origin without a path, such as https://")
            for origin in (
                *("*", "null", "dashboard.example", "ftp://dashboard.example", "https://"),
                *("https://*.example", "https://h/", "https://h?x", "https://h#x"),
                *("https://h:0", "https://h:65536", "https://\xe4.example"),
                *("https://[...]", "https://[1::2::3]", "https://[127.0.0.1]"),
            )
        ),
        ("core_timeout", 0, "seconds above 0"),
        ("core_timeout", -1.5, "seconds above 0"),
        ("core_timeout", float("nan"), "seconds above 0"),
        ("core_timeout", float("inf"), "seconds above 0"),
    ],
)
def test_a_bad_value_is_named(key: str, value: object, allowed: str) -> None:
    given = [value] if key.startswith("allowed_") else value
    with pytest.raises(ValueError, match=f"^{key}: ") as caught:
        read_group(GatewayConfig, {key: given})
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(ValueError, match=r"^public_url: must be http\(s\)://HOST") as caught:
        read_group(GatewayConfig, {"public_url": "https://app:hunter2@sessions.example"})
    assert "hunter2" not in str(caught.value)
