"""``maxscale+http://`` and ``maxscale+https://``: the sessions of a MaxScale, by its REST API.

Versions 2.2 to 24.02; a sessiongate answers in the same way. Options:
``statements=true`` asks for the statements that the sessions ran, ``tls_ca`` is
for https; and those that give a password (`core.sources.network`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import mktime_tz, parsedate_tz

from core.sources.base import Observation, SourceConfig, SourceConfigError, SourceError
from core.sources.network import CREDENTIAL_OPTIONS, Endpoint, flag
from core.sources.peer import address, is_loopback
from core.sources.place import Place
from core.sources.rest import RestClient
from core.sources.sessionlist import SessionList, parse
from core.sources.steady import steadied
from runtime.address import Address

DEFAULT_PORT = 8989

# What `read_sessions` reads. Versions that do not know the parameter answer with
# more, and those that do not know paths in it without the memory.
_FIELDS = (
    *("state", "connected", "user", "remote", "port", "database", "idle", "connections"),
    *("client", "memory/total", "io_activity", "thread", "application", "services", "filters"),
)


class MaxScaleSource:
    """The sessions of one MaxScale."""

    def __init__(
        self, endpoint: Endpoint, *, statements: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        """``now`` is in seconds since the epoch."""
        self._endpoint = endpoint
        self._fields = ",".join((*_FIELDS, "queries") if statements else _FIELDS)
        self._now = now
        self._client = RestClient(endpoint)
        self._sessions = SessionList(statements=statements)
        self._started: float | None = None

    async def observe(self) -> Observation:
        """The sessions as they are. Raises `SourceError`, which names the MaxScale."""
        try:
            maxscale = await self._get("maxscale", "started_at,uptime")
            started = None if maxscale is None else read_start(maxscale, self._now())
            self._started = started and steadied(started, self._started)
            servers = await self._get("servers", "parameters/address,parameters/port")
            known = {} if servers is None else read_servers(servers, is_here=self._is_here)
            sessions = await self._get("sessions", self._fields)
            if sessions is None:
                raise SourceError("there is no /v1/sessions: this is no MaxScale")
            return self._sessions.read(sessions, self._now(), known, self._started)
        except SourceError as error:
            raise SourceError(f"{self._endpoint}: {error}") from None

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def _get(self, resource: str, fields: str) -> bytes | None:
        path = "/".join(filter(None, ("", self._endpoint.path.strip("/"), "v1", resource)))
        return await self._client.get(f"/{path}", **{f"fields[{resource}]": fields})

    @property
    def _is_here(self) -> bool:
        endpoint = self._endpoint
        return endpoint.is_unix or Address(endpoint.host, endpoint.port).is_loopback


def read_servers(body: bytes, *, is_here: bool) -> dict[str, tuple[str, int]]:
    """Addresses and ports of the servers that are named by an IP address, by name.

    ``is_here`` says that the MaxScale is on this machine: only then is its
    loopback ours.
    """
    servers = {}
    for server in Place(parse(body)).member("data").items():
        parameters = server.member("attributes").optional("parameters")
        host = parameters and parameters.optional("address")
        port = parameters and parameters.optional("port")
        known = address(host.text()) if host else None
        if known is not None and port and (is_here or not is_loopback(known)):
            servers[server.member("id").text()] = (known, port.natural(16))
    return servers


def read_start(body: bytes, now: float) -> float | None:
    """When a MaxScale started, in seconds since the epoch; None where it does not say."""
    attributes = Place(parse(body)).member("data").member("attributes")
    if started := attributes.optional("started_at"):
        date = parsedate_tz(started.text())
        try:
            return float(mktime_tz(date)) if date else None
        except (ValueError, OverflowError):
            raise started.wrong("expected a date") from None
    uptime = attributes.optional("uptime")
    return None if uptime is None else now - uptime.number()


def open_source(config: SourceConfig) -> MaxScaleSource:
    """The MaxScale that a configuration names. Raises `SourceConfigError`."""
    config.take("statements", "tls_ca", *CREDENTIAL_OPTIONS)
    endpoint = Endpoint.of(config, port=DEFAULT_PORT, tls=config.kind == "maxscale+https")
    if endpoint.user and ":" in endpoint.user:
        raise SourceConfigError(f"source {config.name}: a user has no colon")
    return MaxScaleSource(endpoint, statements=flag(config, "statements"))
