"""The gateway's configuration: frozen, with named defaults, every value checked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from sessiongate.gateway.limits import Limits
from sessiongate.gateway.upstream.trust import CoreTls
from sessiongate.runtime.addresses import Address, is_ipv6
from sessiongate.runtime.auth.core_token import read_core_tokens
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.telemetry.logs import LogSettings
from sessiongate.runtime.urls import redacted
from sessiongate.runtime.watched_file import FileError, exposure, trouble

DEFAULT_HTTP = "127.0.0.1:8989"
DEFAULT_CORE = "127.0.0.1:50051"
DEFAULT_CORE_TIMEOUT = 5.0
DEFAULT_REPLICA_STALENESS = 2.0
DEFAULT_WORKERS = 1

Network: TypeAlias = IPv4Network | IPv6Network

_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_URL = re.compile(r"[!#-;=?-~]+")  # printable ASCII without quotes, angle brackets and spaces


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """The configuration of a gateway.

    Raises `ValueError`, whose text names the key, the value and what is allowed.
    """

    http: str = DEFAULT_HTTP  # HOST:PORT; port 0 takes a free one
    core: str = DEFAULT_CORE  # HOST:PORT or unix:PATH
    public_url: str | None = None  # what links start with, instead of the request's host
    allowed_hosts: tuple[str, ...] = ()  # answered for, besides those always known
    core_timeout: float = DEFAULT_CORE_TIMEOUT  # seconds that one answer from the core may take
    # How old the replica may be to answer, in seconds; 0 keeps none.
    replica_staleness: float = DEFAULT_REPLICA_STALENESS
    workers: int = DEFAULT_WORKERS  # processes that answer requests
    protection: Protection = field(default_factory=Protection)  # of the HTTP listener
    core_trust: CoreTls = field(default_factory=CoreTls)
    core_token_file: Path | None = None  # shown to the core: `runtime.auth.core_token`
    trusted_proxies: tuple[Network, ...] = ()  # believed about their callers
    metrics: str | None = None  # HOST:PORT to serve metrics at
    limits: Limits = field(default_factory=Limits)
    logs: LogSettings = field(default_factory=LogSettings)

    def check_files(self) -> None:
        """Read every file named here once. Raises `FileError`, which names the setting."""
        for name, text in self.troubles().items():
            raise FileError(f"{name}: {text}")

    def troubles(self) -> dict[str, str]:
        """Return why files cannot be used, by the settings that name them."""
        found = self.protection.troubles()
        if self.core_trust.tls is not None:
            found |= self.core_trust.tls.troubles()
        if self.core_token_file is not None:
            found["core_token_file"] = trouble(read_core_tokens, self.core_token_file)
        return {name: text for name, text in found.items() if text}

    def exposures(self) -> dict[str, str]:
        """Return which secret files every user of the machine can read, by their settings.

        A secret that signs tokens is not among them: it is refused.
        """
        paths = {
            "tls_key": self.protection.tls_key,
            "users": self.protection.users,
            "core_key": self.core_trust.core_key,
            "core_token_file": self.core_token_file,
        }
        found = {name: exposure(Path(path)) for name, path in paths.items() if path}
        return {name: text for name, text in found.items() if text}

    def __post_init__(self) -> None:
        _check_address("http", self.http)
        _check_core(self.core)
        if self.metrics is not None:
            _check_address("metrics", self.metrics)
        if self.public_url is not None:
            _check_public_url(self.public_url)
        for host in self.allowed_hosts:
            _check_host(host)
        if not 0 < self.core_timeout < math.inf:
            raise ValueError(
                f"core_timeout: {self.core_timeout!r} is not a number of seconds above 0"
            )

        if not 0 <= self.replica_staleness < math.inf:
            raise ValueError(
                f"replica_staleness: {self.replica_staleness!r} is not a number of seconds,"
                " 0 or more"
            )


def _check_address(key: str, value: str) -> Address:
    try:
        return Address.parse(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _check_core(value: str) -> None:
    if value == "unix:":
        raise ValueError(f"core: {value!r} lacks the socket's path, as in unix:/run/core.sock")
    if not value.startswith("unix:") and _check_address("core", value).port == 0:
        raise ValueError(f"core: {value!r} has port 0; allowed are 1 to 65535")


def _check_public_url(value: str) -> None:
    allowed = "allowed is http(s)://HOST[:PORT][/PATH], such as https://sessions.example"
    if "@" in value:  # may be a password, so it is not repeated
        raise ValueError(f"public_url: has a user part; {allowed}")
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # from the port or an IPv6 address
        valid = False
    if not valid or not _URL.fullmatch(value) or "?" in value or "#" in value:
        raise ValueError(f"public_url: {redacted(value)} is not a URL to put before /v1; {allowed}")


def _check_host(value: str) -> None:
    if not _NAME.fullmatch(value) and not is_ipv6(value):
        raise ValueError(
            f"allowed_host: {redacted(value)} is not a host name or an IP address, without a port,"
            f" such as sessions.example or ::1{_meant(value)}"
        )


def _meant(url: str) -> str:
    """Suggest the host if a URL or an address with a port was given."""
    try:
        host = urlsplit(url if "://" in url else f"//{url}").hostname
    except ValueError:
        return ""
    return f"; did you mean {host!r}?" if host and _NAME.fullmatch(host) else ""
