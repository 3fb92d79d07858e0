"""``maxscale+http://`` and ``maxscale+https://``: the sessions of a MaxScale, by its REST API.

Versions 2.2 to 24.02; another sessiongate can be read in the same way. Options:
``statements=true`` requests the statements that the sessions ran; ``tls_ca`` is
for https; ``timezone=AREA/CITY`` is the zone in which the MaxScale runs and writes
local times; and those for a password (`core.sources.support.endpoint`), also of those who act
(`core.sources.acts.maxscale`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from itertools import accumulate
from zoneinfo import ZoneInfo

from sessiongate.core.sources.base import (
    DEFAULT_MAX_SESSIONS,
    Action,
    Observation,
    SourceConfig,
    SourceConfigError,
    SourceConnectError,
    SourceError,
    Strike,
    Target,
    UnreadableError,
)
from sessiongate.core.sources.support.elements import Elements
from sessiongate.core.sources.support.endpoint import (
    ACTION_OPTIONS,
    CREDENTIAL_OPTIONS,
    Endpoint,
    flag,
    zone,
)
from sessiongate.core.sources.support.json_cursor import JsonCursor
from sessiongate.core.sources.support.lenient_json import JsonError
from sessiongate.core.sources.support.moments import EARLIEST, LATEST
from sessiongate.core.sources.support.pacing import Pace, batches
from sessiongate.core.sources.support.peer import canonical_address, is_loopback
from sessiongate.core.sources.support.rest import RestClient
from sessiongate.core.sources.support.serverzone import ServerZone
from sessiongate.core.sources.support.sessionlist import ReadingContext, SessionList, parse_json
from sessiongate.core.sources.support.spelling import DEFAULT_PORTS
from sessiongate.core.sources.support.stability import debounce
from sessiongate.runtime.addresses import Address
from sessiongate.v1.session_service_pb2 import ServiceStatus

MAX_RESOURCES = 10_000  # servers, and services, to read
_UTC = ServerZone(ZoneInfo("UTC"))
# Bytes of a server's name, or of a service's status, so that none displaces others.
MAX_RESOURCE_BYTES = 1024
# Bytes kept of all services: the status of all sources shares one message.
MAX_SERVICES_BYTES = 64 * 1024

# The fields that `read_sessions` reads. Versions without the parameter return more;
# those without support for paths in it return no memory.
_FIELDS = (
    *("state", "connected", "user", "remote", "port", "database", "idle", "connections"),
    *("client", "memory/total", "io_activity", "thread", "application", "services", "filters"),
    *("seconds_alive", "truncated", "activity"),
)


class MaxScaleSource:
    """The sessions of one MaxScale."""

    possible_actions = (Action.TERMINATE,)

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        zone: ZoneInfo | None = None,
        statements: bool = False,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
        now: Callable[[], float] = time.time,
        acting: Endpoint | None = None,
    ) -> None:
        """Read times in ``zone``, where the MaxScale runs; None: prove it from the responses.

        ``now`` is in seconds since the epoch. ``acting`` is the MaxScale with other
        credentials, if those are for acting.
        """
        self._endpoint = endpoint
        self._acting = acting or endpoint
        self._fields = ",".join((*_FIELDS, "queries") if statements else _FIELDS)
        self._now = now
        self._zone = ServerZone(zone)
        self._client = RestClient(endpoint)
        self._sessions = SessionList(statements=statements, max_sessions=max_sessions)
        self._started: float | None = None

    async def observe(self) -> Observation:
        """Return the current sessions. Raises `SourceError`, which names the MaxScale."""
        try:
            body = await self._get("maxscale", "started_at,uptime")
            clock = ServerClock() if body is None else read_server_clock(body, self._now())
            if clock.started is not None:
                self._started = debounce(clock.started, self._started)
            async with self._list("servers", "parameters/address,parameters/port") as parts:
                servers = await read_servers(parts, is_here=self._is_here) if parts else {}
            async with self._list("services", "router,state") as parts:
                services = await read_services(parts) if parts else ()
            zone = self._zone
            if clock.started is None and zone.zone is None and await self._is_sessiongate():
                zone = _UTC  # sessiongate states nothing about its clock, and writes UTC
            async with self._list("sessions", self._fields) as parts:
                if parts is None:
                    raise SourceError("/v1/sessions does not exist: this is not MaxScale")
                context = ReadingContext(
                    self._now(), zone, clock.skew, servers, self._started, services
                )
                return await self._sessions.read(parts, context)
        except SourceConnectError as error:
            raise SourceConnectError(f"{self._endpoint}: {error}") from None
        except SourceError as error:
            raise SourceError(f"{self._endpoint}: {error}") from None

    def aim(self, action: Action, target: Target) -> AbstractAsyncContextManager[Strike]:
        """Aim at a session."""
        from sessiongate.core.sources.acts.maxscale import aim  # only if that is allowed

        return aim(self._acting, self._path("sessions"), target)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def _is_sessiongate(self) -> bool:
        """Return whether the root resource is a sessiongate's; MaxScale's is empty."""
        body = await self._get("", "")
        with suppress(SourceError, UnreadableError):
            return (
                JsonCursor(parse_json(body or b"")).member("meta").member("name").value
                == "sessiongate"
            )
        return False

    async def _get(self, resource: str, fields: str) -> bytes | None:
        return await self._client.get(self._path(resource), _chosen(resource, fields))

    def _list(
        self, resource: str, fields: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes] | None]:
        return self._client.stream(self._path(resource), _chosen(resource, fields))

    def _path(self, resource: str) -> str:
        path = "/".join(filter(None, (self._endpoint.path.strip("/"), "v1", resource)))
        return f"/{path}"

    @property
    def _is_here(self) -> bool:
        endpoint = self._endpoint
        return endpoint.is_unix or Address(endpoint.host, endpoint.port).is_loopback


def _chosen(resource: str, fields: str) -> dict[str, str]:
    """Return the query parameter that requests only these fields."""
    return {f"fields[{resource}]": fields} if fields else {}


async def read_servers(parts: AsyncIterable[bytes], *, is_here: bool) -> dict[str, tuple[str, int]]:
    """Return, by name, the addresses and ports of servers configured by IP address.

    ``is_here`` means that the MaxScale is on this machine: only then is its loopback
    ours. A server that cannot be read is left out, and nothing is linked to it.
    Raises `SourceError` for anything but a list.
    """
    servers = {}
    async for server in _resources("servers", parts):
        with suppress(UnreadableError):
            parameters = server.member("attributes").member("parameters")
            known = canonical_address(parameters.member("address").text())
            if known is not None and (is_here or not is_loopback(known)):
                port = parameters.member("port").natural(16)
                name = server.member("id").text()
                if len(name.encode()) <= MAX_RESOURCE_BYTES:
                    servers[name] = (known, port)
    return servers


async def _resources(kind: str, parts: AsyncIterable[bytes]) -> AsyncIterator[JsonCursor]:
    """Yield the resources of a list. Raises `SourceError` for anything but a list."""
    try:
        async for batch in batches(Elements(MAX_RESOURCES), parts, Pace()):
            if batch.first is None:
                raise UnreadableError("/data: expected an array, found an object")
            for resource in batch.places():
                yield resource
    except JsonError:
        raise SourceError(f"/v1/{kind}: not JSON") from None
    except UnreadableError as error:
        raise SourceError(f"/v1/{kind}: {error}") from None


async def read_services(parts: AsyncIterable[bytes]) -> tuple[ServiceStatus, ...]:
    """Return the status of services, in order of name, up to `MAX_SERVICES_BYTES` in all.

    A service that cannot be read, or is larger than `MAX_RESOURCE_BYTES`, is left out, as
    is a member that cannot be read. Raises `SourceError` for anything but a list.
    """
    services: dict[str, ServiceStatus] = {}
    async for resource in _resources("services", parts):
        with suppress(UnreadableError):
            status = ServiceStatus(name=resource.member("id").text())
            attributes = resource.member("attributes")
            with suppress(UnreadableError):
                status.router = attributes.member("router").text()
            with suppress(UnreadableError):
                status.state = attributes.member("state").text()
            is_stated = status.HasField("router") or status.HasField("state")
            if is_stated and status.ByteSize() <= MAX_RESOURCE_BYTES:
                services.setdefault(status.name, status)
    ordered = [services[name] for name in sorted(services)]
    sizes = accumulate(status.ByteSize() for status in ordered)
    return tuple(
        status for status, size in zip(ordered, sizes, strict=True) if size <= MAX_SERVICES_BYTES
    )


@dataclass(frozen=True, slots=True)
class ServerClock:
    """A MaxScale's clock, as far as it states it. Times are in seconds since the epoch."""

    started: float | None = None
    skew: float = 0.0  # seconds that it is ahead of this machine's clock, if known


def read_server_clock(body: bytes, now: float) -> ServerClock:
    """Read the clock of the MaxScale that sent this response at ``now``.

    What cannot be read counts as not stated. Raises `SourceError` for anything but a
    document.
    """
    try:
        attributes = JsonCursor(parse_json(body)).member("data").member("attributes")
        attributes.object()
    except UnreadableError as error:
        raise SourceError(f"/v1/maxscale: {error}") from None
    started = uptime = None
    with suppress(UnreadableError, ValueError, OverflowError, TypeError):
        date = parsedate_tz(attributes.member("started_at").text())
        started = float(mktime_tz(date)) if date else None
    with suppress(UnreadableError):
        uptime = attributes.member("uptime").number()
    if started is None and uptime is not None:
        started = now - uptime
    if started is None or not EARLIEST <= started <= LATEST:
        return ServerClock()
    if uptime is None or not 0 <= uptime <= LATEST:
        return ServerClock(started)
    return ServerClock(started, started + uptime - now)


def open_source(config: SourceConfig) -> MaxScaleSource:
    """Open the MaxScale that a configuration names. Raises `SourceConfigError`."""
    config.take("statements", "timezone", "tls_ca", *CREDENTIAL_OPTIONS, *ACTION_OPTIONS)
    endpoint = Endpoint.of(
        config, port=DEFAULT_PORTS["maxscale+http"], tls=config.kind == "maxscale+https"
    )
    if endpoint.user and ":" in endpoint.user:
        raise SourceConfigError(f"source {config.name}: the user must not contain a colon")
    return MaxScaleSource(
        endpoint,
        zone=zone(config),
        statements=flag(config, "statements"),
        max_sessions=config.max_sessions,
        acting=endpoint.for_actions(config),
    )
