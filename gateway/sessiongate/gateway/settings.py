"""The gateway's settings, and its configuration, which is made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from urllib.parse import urlsplit

from sessiongate.gateway.limits import Limits
from sessiongate.runtime.addresses import Address, is_ipv6, parse_ip
from sessiongate.runtime.auth.core_token import CoreTokenSettings, read_core_tokens
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.core_tls import CoreTlsSettings
from sessiongate.runtime.settings import (
    Network,
    grpc_listener,
    integer_from,
    listener,
    must_be,
    network,
    repeatable,
    seconds,
    setting,
    switch,
    text,
)
from sessiongate.runtime.telemetry.logs import LogSettings
from sessiongate.runtime.watched_file import FileError, exposure, trouble
from sessiongate.v1.address import DEFAULT_ADDRESS

_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_PORTS = {"http": "80", "https": "443"}
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]{1,255}|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?"
)
_URL = re.compile(r"[!#-&(-;=?-~]+")  # printable ASCII without quotes, angle brackets and spaces


def _core_addresses(value: object) -> tuple[str, ...]:
    """Read addresses to connect to: text with commas between them, or a list of a file."""
    if isinstance(value, list) and value:
        texts = value
    else:  # part of a password would not look like one, and would be repeated
        texts = [value] if "@" in str(value) else str(value).split(",")
    return tuple(dict.fromkeys(map(_core_address, texts)))


def _core_address(value: object) -> str:
    address = grpc_listener(value.strip() if isinstance(value, str) else value)
    if not address.startswith("unix:") and Address.parse(address).port == 0:
        raise must_be("an address with a port from 1 to 65535", value)
    return address


def _public_url(value: object) -> str:
    """Read a URL to put before /v1."""
    url = text(value)
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # from the port or an IPv6 address
        valid = False
    if not valid or not _URL.fullmatch(url) or set("@?#") & {*url}:
        raise must_be("http(s)://HOST[:PORT][/PATH], such as https://sessions.example", value)
    return url


def _host(value: object) -> str:
    """Read a host's name or address."""
    host = text(value)
    if not _NAME.fullmatch(host) and not is_ipv6(host):
        allowed = "a host name or IP address without a port, such as sessions.example or ::1"
        raise must_be(allowed, value, _meant(host))
    return host


def _meant(url: str) -> str:
    """Suggest the host if a URL or an address with a port was given."""
    try:
        host = urlsplit(url if "://" in url else f"//{url}").hostname
    except ValueError:
        return ""
    return f"; did you mean {host!r}?" if host and _NAME.fullmatch(host) else ""


def _origin(value: object) -> str:
    """Read the origin of pages; return it as browsers send it, without a default port."""
    found = _ORIGIN.fullmatch(text(value).lower())
    ip = parse_ip(found["host"].strip("[]")) if found else None
    if (
        found is None
        or int(found["port"] or 1) not in range(1, 65536)
        or (found["host"].startswith("[") and not isinstance(ip, IPv6Address))
    ):
        allowed = "an origin without a path, such as https://dashboard.example or http://h:3000"
        raise must_be(allowed, value)
    port = "" if found["port"] in (None, _PORTS[found["scheme"]]) else f":{int(found['port'])}"
    host = f"[{ip}]" if isinstance(ip, IPv6Address) else found["host"]
    return f"{found['scheme']}://{host}{port}"


@dataclass(frozen=True)
class LinkSettings:
    """The setting of links."""

    public_url: str | None = setting(
        None,
        _public_url,
        "Base URL of links; by default the request's host, or http://localhost:8989 without one.",
        "URL",
    )


@dataclass(frozen=True)
class HttpSettings(LinkSettings):
    """The settings of a gateway's listener and of its replica."""

    http: str = setting(
        "127.0.0.1:8989",
        listener,
        "Listening address for REST; port 0 selects a free port.",
        "ADDRESS",
    )
    allowed_host: tuple[str, ...] = repeatable(
        (), _host, "Additional host name to answer requests for; repeatable.", "HOST"
    )
    allowed_origin: tuple[str, ...] = repeatable(
        (),
        _origin,
        "Let pages of this origin, such as https://dashboard.example, read responses; repeatable.",
        "ORIGIN",
    )
    trusted_proxies: tuple[Network, ...] = repeatable(
        (),
        network,
        "Trust X-Forwarded-* and Forwarded from this network; repeatable.",
        "NETWORK",
    )
    ui: bool = setting(
        True, switch, "Serve the page for people at / and /ui/: on or off.", "SWITCH"
    )
    replica: bool = setting(
        True,
        switch,
        "Answer from a live copy of the core's sessions while it is provably current: on or off.",
        "SWITCH",
    )
    replica_staleness: float = setting(
        2.0,
        seconds,
        "Maximum age of the live copy; if it may be older, ask the core instead.",
        "SECONDS",
    )
    workers: int = setting(
        1, integer_from(1, 64), "Number of gateway processes that share the address.", "NUMBER"
    )
    metrics: str | None = setting(
        None,
        listener,
        "Listening address for the gateway's Prometheus metrics, at /metrics.",
        "ADDRESS",
    )


@dataclass(frozen=True)
class UpstreamSettings(CoreTlsSettings, CoreTokenSettings):
    """The settings of the connection to a core, or to several of one fleet."""

    core: tuple[str, ...] | None = setting(
        None,
        _core_addresses,
        "Address of a running core, or several of one fleet with commas between them; one is called"
        f" at a time (default: {DEFAULT_ADDRESS}; a server starts its own instead).",
        "ADDRESSES",
    )
    core_timeout: float = setting(
        5.0, seconds, "Maximum time to wait for a response from the core.", "SECONDS"
    )

    @property
    def core_addresses(self) -> tuple[str, ...]:
        """The addresses of cores, or the default one."""
        return self.core or (DEFAULT_ADDRESS,)

    @property
    def cores_shown(self) -> str:
        """The addresses in one text."""
        return ", ".join(self.core_addresses)

    @property
    def core_named(self) -> str:
        """The core in messages, with the addresses that it may have."""
        one_of = "" if len(self.core_addresses) == 1 else "one of "
        return f"the core at {one_of}{self.cores_shown}"

    def core_troubles(self) -> dict[str, str]:
        """Return why files cannot be used, or nothing, by the settings that name them."""
        found = {} if self.core_tls is None else self.core_tls.troubles()
        if self.core_token_path is not None:
            found["core_token_file"] = trouble(read_core_tokens, self.core_token_path)
        return found


@dataclass(frozen=True)
class GatewayConfig(HttpSettings, UpstreamSettings):
    """The configuration of a gateway."""

    protection: Protection = field(default_factory=Protection)  # of the HTTP listener
    limits: Limits = field(default_factory=Limits)
    logs: LogSettings = field(default_factory=LogSettings)

    @property
    def has_operators(self) -> bool:
        """Whether a caller may have the role of an operator, who acts on sessions.

        A client certificate gives it to nobody: the server does not report whose it is.
        """
        protection, credentials = self.protection, self.protection.credentials()
        is_named = credentials.has_operators and bool(credentials.users or credentials.has_tokens)
        return protection.insecure_actions or is_named

    def check_files(self) -> None:
        """Read every file named here once. Raises `FileError`, which names the setting."""
        for name, wrong in self.troubles().items():
            raise FileError(f"{name}: {wrong}")

    def troubles(self) -> dict[str, str]:
        """Return why files cannot be used, by the settings that name them."""
        found = self.protection.troubles() | self.core_troubles()
        return {name: wrong for name, wrong in found.items() if wrong}

    def exposures(self) -> dict[str, str]:
        """Return which secret files every user of the machine can read, by their settings.

        A secret that signs tokens is not among them: it is refused.
        """
        paths = {
            "tls_key": self.protection.tls_key,
            "users": self.protection.users,
            "core_key": self.core_key,
            "core_token_file": self.core_token_file,
        }
        found = {name: exposure(Path(path)) for name, path in paths.items() if path}
        return {name: wrong for name, wrong in found.items() if wrong}
