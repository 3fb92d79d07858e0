"""``maxscale+http://`` over real HTTP: recorded answers, and a sessiongate as its MaxScale."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.core.sources.base import (
    Observation,
    SourceConfig,
    SourceConfigError,
    SourceConnectError,
    SourceError,
    TcpLink,
)
from sessiongate.core.sources.maxscale import (
    MAX_SERVICES_BYTES,
    MaxScaleSource,
    ServerClock,
    open_source,
    read_server_clock,
    read_servers,
    read_services,
)
from sessiongate.core.sources.support import rest
from sessiongate.core.sources.support.endpoint import Endpoint
from sessiongate.v1.session_service_pb2 import ServiceStatus
from tests.core.observing import arriving, hanging, refusal, until_same
from tests.core.test_jsonapi_sessions import JSON, places, replaced
from tests.maxscale import SERVERS, SERVICES, STARTED, MaxScale
from tests.program import DATA, Forked, Serving
from tests.relay import Relay
from tests.servers import certificates

PASSWORD = "open sesame"


@pytest.fixture
def maxscale() -> MaxScale:
    return MaxScale()


@asynccontextmanager
async def opened(
    location: str, scheme: str = "http", **options: str
) -> AsyncIterator[MaxScaleSource]:
    """Open a source for a location, with a user and a password."""
    url = f"maxscale+{scheme}://ann@{location}"
    source = open_source(SourceConfig.parse(url, {"password": PASSWORD, **options}))
    try:
        yield source
    finally:
        await source.close()


def servers_of(body: bytes, *, is_here: bool) -> dict[str, tuple[str, int]]:
    """Return the servers that a body names."""
    return asyncio.run(read_servers(arriving(body), is_here=is_here))


def observed(maxscale: MaxScale, **options: str) -> Observation:
    """Observe its answers once."""

    async def observe() -> Observation:
        async with maxscale.serving() as location, opened(location, **options) as source:
            return await source.observe()

    return asyncio.run(observe())


def refused(maxscale: MaxScale, **options: str) -> str:
    """Return the error that observing its answers once ends with, without its place."""

    async def observe() -> str:
        async with maxscale.serving() as location, opened(location, **options) as source:
            text = await refusal(source.observe())
            assert text.startswith(f"{location}: ")
            assert PASSWORD not in text
            return text.removeprefix(f"{location}: ")

    return asyncio.run(observe())


def test_the_recorded_sessions_are_read_with_start_and_wires(maxscale: MaxScale) -> None:
    observation = observed(maxscale)
    assert observation.incarnation == 1795458600
    one, two = observation.sessions
    assert (one.session.native_id, one.session.service) == ("1", "RW-Split-Router")
    assert (two.session.native_id, two.session.service) == ("2", "Read-Connection-Router")
    # The MaxScale is on this machine: both have the same loopback.
    assert one.opened == (TcpLink(server=("127.0.0.1", 3306), server_id=9),)


@pytest.mark.parametrize(("statements", "asked"), [("false", False), ("true", True)])
def test_only_what_is_used_is_asked_for(maxscale: MaxScale, statements: str, asked: bool) -> None:
    observed(maxscale, statements=statements)
    queries = {request.path: request.query for request in maxscale.requests}
    assert list(queries) == ["/v1/maxscale", "/v1/servers", "/v1/services", "/v1/sessions"]
    fields = queries["/v1/sessions"]["fields[sessions]"].split(",")
    assert {"state", "connected", "services", "memory/total", "truncated"} <= set(fields)
    assert ("queries" in fields) == asked
    assert queries["/v1/maxscale"]["fields[maxscale]"] == "started_at,uptime"
    assert queries["/v1/services"]["fields[services]"] == "router,state"
    login = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    assert {request.headers["Authorization"] for request in maxscale.requests} == {f"Basic {login}"}


def test_one_connection_is_used_again(maxscale: MaxScale) -> None:
    async def observe() -> None:
        async with maxscale.serving() as location, opened(location) as source:
            await until_same(source)

    asyncio.run(observe())
    assert len({id(request.transport) for request in maxscale.requests}) == 1


def test_without_a_stated_start_the_uptime_tells_it(maxscale: MaxScale) -> None:
    moments = iter([1000.0, 1001.0, 1002.4, 1004.0, 1100.0, 1100.0])

    async def observe() -> list[float | None]:
        async with maxscale.serving() as location:
            source = MaxScaleSource(
                Endpoint.of(SourceConfig.parse(f"maxscale+http://{location}"), port=1, tls=False),
                now=lambda: next(moments),
            )
            starts = []
            for uptime in (100, 102, 0):
                maxscale.maxscale = {"data": {"attributes": {"uptime": uptime}}}
                starts.append((await source.observe()).incarnation)
            await source.close()
            return starts

    assert asyncio.run(observe()) == [900, 900, 1100]


@pytest.mark.parametrize(
    ("attributes", "clock"),
    [
        (
            {"started_at": "Mon, 23 Nov 2026 18:30:00 GMT", "uptime": 100},
            ServerClock(1795458600, 100.0),
        ),
        ({"started_at": "Mon, 23 Nov 2026 18:30:00 GMT"}, ServerClock(1795458600)),
        ({"started_at": 5, "uptime": 10}, ServerClock(1795458590.0, 0.0)),
        ({"started_at": "Mon, 99 Foo 2026", "uptime": 10}, ServerClock(1795458590.0, 0.0)),
        ({"started_at": "Mon, 23 Nov 2026 18:30:00 GMT", "uptime": -1}, ServerClock(1795458600)),
        ({"started_at": "Mon, 23 Nov 2026 18:30:00 GMT", "uptime": "x"}, ServerClock(1795458600)),
        ({"started_at": "Mon, 23 Nov 9999 18:30:00 GMT", "uptime": 10}, ServerClock()),
        ({"uptime": 1e300}, ServerClock()),
        ({"uptime": None, "started_at": None}, ServerClock()),
        ({}, ServerClock()),
    ],
)
def test_of_the_clock_what_can_be_read_is(
    attributes: dict[str, object], clock: ServerClock
) -> None:
    body = json.dumps({"data": {"attributes": attributes}}).encode()
    assert read_server_clock(body, 1795458600.0) == clock


@given(data=st.data(), value=JSON)
def test_any_value_in_any_place_is_a_clock_and_servers_or_an_error(
    data: st.DataObject, value: object
) -> None:
    clock = {"data": {"attributes": {"started_at": STARTED, "uptime": 5}}}
    place = data.draw(st.sampled_from(places(clock)))
    with suppress(SourceError):
        read_server_clock(json.dumps(replaced(clock, place, value)).encode(), 1.8e9)
    place = data.draw(st.sampled_from(places(SERVERS)))
    with suppress(SourceError):
        servers = servers_of(json.dumps(replaced(SERVERS, place, value)).encode(), is_here=True)
        assert len(servers) <= 1 or len(place) < 2


def test_a_server_that_cannot_be_read_costs_itself() -> None:
    odd = [5, {"id": "a"}, {"id": "b", "attributes": {"parameters": {"address": "::1"}}}]
    body = json.dumps({"data": [*odd, *SERVERS["data"]]}).encode()
    assert servers_of(body, is_here=True) == {"server1": ("127.0.0.1", 3306)}


RECORDED_SERVICES = (
    ServiceStatus(name="RW-Split-Router", router="readwritesplit", state="Started"),
    ServiceStatus(name="Read-Connection-Router", router="readconnroute", state="Started"),
)


def services_of(*resources: object) -> tuple[ServiceStatus, ...]:
    body = json.dumps({"data": resources}).encode()
    return asyncio.run(read_services(arriving(body)))


def test_what_is_said_of_services_is_read(maxscale: MaxScale) -> None:
    assert observed(maxscale).services == RECORDED_SERVICES


def test_a_service_whose_state_changes_makes_another_observation(maxscale: MaxScale) -> None:
    async def observe() -> None:
        async with maxscale.serving() as location, opened(location) as source:
            first = await source.observe()
            place = ("data", 0, "attributes", "state")
            maxscale.services = replaced(SERVICES, place, "Stopped")
            second = await source.observe()
            assert [status.state for status in second.services] == ["Started", "Stopped"]
            assert [item.key for item in second.sessions] == [item.key for item in first.sessions]
            await until_same(source)

    asyncio.run(observe())


@pytest.mark.parametrize(
    ("attributes", "services"),
    [
        ({"router": 5, "state": "Started"}, (ServiceStatus(name="a", state="Started"),)),
        ({"router": "cli", "state": "\ud800"}, (ServiceStatus(name="a", router="cli"),)),
        ({"router": "cli", "state": None}, (ServiceStatus(name="a", router="cli"),)),
        ({"router": None, "state": []}, ()),
        ({}, ()),
        ([], ()),
    ],
)
def test_a_service_shows_what_can_be_read_of_it(
    attributes: object, services: tuple[ServiceStatus, ...]
) -> None:
    odd = {"id": "a", "attributes": attributes}
    assert services_of(odd, *SERVICES["data"]) == (*RECORDED_SERVICES, *services)


@given(data=st.data(), value=JSON)
def test_a_value_in_any_place_costs_its_service_at_most(data: st.DataObject, value: object) -> None:
    plain = {"id": "plain", "attributes": {"router": "cli", "state": "Started"}}
    odd = replaced(plain, data.draw(st.sampled_from(places(plain))), value)
    services = services_of(*SERVICES["data"], odd)
    assert [each for each in services if each in RECORDED_SERVICES] == [*RECORDED_SERVICES]
    assert len(services) <= 3


def test_of_services_without_end_the_first_are_kept() -> None:
    resources = [
        {"id": f"{number:05}", "attributes": {"state": "x" * 1000}} for number in range(100)
    ]
    services = services_of(*reversed(resources))
    assert [status.name for status in services] == [f"{n:05}" for n in range(len(services))]
    size = sum(status.ByteSize() for status in services)
    assert MAX_SERVICES_BYTES - 2000 < size <= MAX_SERVICES_BYTES


def test_a_large_service_or_server_takes_the_place_of_no_other() -> None:
    large = {"id": "a", "attributes": {"state": "x" * 70_000}}
    plain = {"id": "b", "attributes": {"state": "Started"}}
    assert services_of(large, plain) == (ServiceStatus(name="b", state="Started"),)
    at = {"parameters": {"address": "192.0.2.1", "port": 3306}}
    names = ["x" * 70_000, "ä" * 600, "x" * 1024]
    body = json.dumps({"data": [{"id": name, "attributes": at} for name in names]}).encode()
    assert servers_of(body, is_here=True) == {"x" * 1024: ("192.0.2.1", 3306)}


def test_what_is_no_list_of_services_is_named(maxscale: MaxScale) -> None:
    maxscale.services = {"data": {}}
    assert refused(maxscale) == "/v1/services: /data: expected an array, found an object"


def test_a_start_that_is_not_stated_for_once_is_no_restart(maxscale: MaxScale) -> None:
    async def observe() -> list[float | None]:
        async with maxscale.serving() as location, opened(location) as source:
            starts = [(await source.observe()).incarnation]
            maxscale.maxscale = {"data": {"attributes": {"started_at": None}}}
            return [*starts, (await source.observe()).incarnation]

    assert asyncio.run(observe()) == [1795458600] * 2


def test_one_that_is_not_there_is_no_answer_that_is_wrong(maxscale: MaxScale) -> None:
    async def observe() -> None:
        async with maxscale.serving() as location:
            maxscale.status = 500
            async with opened(location) as source:
                with pytest.raises(SourceError) as caught:
                    await source.observe()
                assert not isinstance(caught.value, SourceConnectError)
        async with opened(location) as source:
            with pytest.raises(SourceConnectError):
                await source.observe()

    asyncio.run(observe())


@pytest.mark.parametrize("zone", ["Europe/Helsinki", "America/St_Johns", "Asia/Kathmandu", "UTC"])
@pytest.mark.parametrize("now", ["2026-01-15T12:00:00", "2026-07-15T12:00:00"])
def test_local_times_are_read_in_the_zone_that_is_configured(
    maxscale: MaxScale, zone: str, now: str
) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    maxscale.sessions = old_answer(ZoneInfo(zone), {"1": moment})
    (item,) = observed(maxscale, timezone=zone, statements="true").sessions
    assert item.session.connect_time.ToDatetime(UTC) == moment
    assert item.session.queries[0].receive_time.ToDatetime(UTC) == moment
    assert not item.unreadable


@pytest.mark.parametrize("zone", ["Europe/Helsinki", "America/St_Johns", "Asia/Kathmandu", "UTC"])
def test_without_one_the_zone_is_what_the_data_prove_across_its_change(
    maxscale: MaxScale, zone: str
) -> None:
    """Sessions appear between two observations, while summer time ends in Europe and America."""
    there = ZoneInfo(zone)
    started = datetime(2026, 10, 1, tzinfo=UTC)
    now = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    sessions = {"1": now - timedelta(days=1)}

    async def observe() -> None:
        nonlocal now
        async with maxscale.serving() as location:
            endpoint = Endpoint.of(SourceConfig.parse(f"maxscale+http://{location}"), port=1)
            source = MaxScaleSource(endpoint, statements=True, now=lambda: now.timestamp() + 9999)
            for number in range(2, 20):
                maxscale.maxscale = clock_of(started, now)
                maxscale.sessions = old_answer(there, sessions)
                found = {item.session.native_id: item for item in (await source.observe()).sessions}
                assert not found["1"].session.HasField("connect_time"), "nothing proves its zone"
                assert "set timezone=" in found["1"].unreadable[0].text
                assert not found["1"].session.queries[0].HasField("receive_time")
                for ident, began in sessions.items():
                    if ident != "1":
                        session = found[ident].session
                        assert session.connect_time.ToDatetime(UTC) == began
                        assert session.queries[0].receive_time.ToDatetime(UTC) == began
                        assert not found[ident].unreadable
                sessions[str(number)] = now + timedelta(seconds=2)
                now += timedelta(seconds=600)
            await source.close()

    asyncio.run(observe())


@pytest.mark.parametrize("zone", ["Europe/Helsinki", "America/St_Johns", "Australia/Lord_Howe"])
@pytest.mark.parametrize(("step", "odd"), [(5, 26), (600, 7), (2400, 0)])
def test_no_time_is_wrong_whatever_cannot_be_read(
    maxscale: MaxScale, zone: str, step: int, odd: int
) -> None:
    """The clocks are put back, and from then on an odd row hides which sessions are new.

    Of every 600 s, the times of the hour that comes twice are proven when it comes again.
    """
    there = ZoneInfo(zone)
    started = datetime(2026, 3, 1, tzinfo=UTC)
    change = {"Europe/Helsinki": (10, 25, 1), "America/St_Johns": (11, 1, 4)}.get(zone, (4, 4, 15))
    now = datetime(2026, *change, tzinfo=UTC) - min(
        timedelta(hours=1), 35 * timedelta(seconds=step)
    )
    sessions: dict[str, datetime] = {}

    async def observe() -> int:
        nonlocal now, sessions
        certain = 0
        async with maxscale.serving() as location:
            endpoint = Endpoint.of(SourceConfig.parse(f"maxscale+http://{location}"), port=1)
            source = MaxScaleSource(endpoint, statements=True, now=lambda: now.timestamp())
            for number in range(min(3 * 3600 // step, 60)):
                sessions[str(number)] = now - timedelta(seconds=2)
                sessions = dict([*sessions.items()][-20:])
                document = json.loads(old_answer(there, sessions))
                document["data"] += [None] if number >= odd else []
                maxscale.maxscale = clock_of(started, now)
                maxscale.sessions = json.dumps(document).encode()
                for item in (await source.observe()).sessions:
                    began = sessions[item.session.native_id]
                    if item.session.HasField("connect_time"):
                        assert item.session.connect_time.ToDatetime(UTC) == began
                        certain += 1
                    for query in item.session.queries:
                        if query.HasField("receive_time"):
                            assert query.receive_time.ToDatetime(UTC) == began
                now += timedelta(seconds=step)
            await source.close()
        return certain

    assert asyncio.run(observe()) > 0 or step > 600


@pytest.mark.parametrize("attributes", [{}, {"started_at": None}, {"uptime": "x"}])
def test_one_that_states_no_clock_is_not_taken_for_one_in_utc(
    maxscale: MaxScale, attributes: dict[str, object]
) -> None:
    maxscale.maxscale = {"data": {"attributes": attributes}}
    maxscale.sessions = old_answer(ZoneInfo("Europe/Helsinki"), {"1": datetime.now(UTC)})
    (item,) = observed(maxscale).sessions
    assert not item.session.HasField("connect_time")
    assert "set timezone=" in item.unreadable[0].text


def test_a_port_that_speaks_tls_is_named_as_one(maxscale: MaxScale, tmp_path: Path) -> None:
    async def observe() -> None:
        async with (
            maxscale.serving(tls=certificates(tmp_path)) as location,
            opened(location) as source,
        ):
            text = await refusal(source.observe())
        assert text.endswith("this port uses TLS, but the source is configured without it")

    asyncio.run(observe())


def test_a_stated_age_proves_the_zone(maxscale: MaxScale) -> None:
    there = ZoneInfo("Europe/Helsinki")
    now = datetime(2026, 11, 1, tzinfo=UTC)
    began = {"1": now - timedelta(days=30), "2": now - timedelta(seconds=5)}

    async def observe() -> None:
        async with maxscale.serving() as location:
            endpoint = Endpoint.of(SourceConfig.parse(f"maxscale+http://{location}"), port=1)
            source = MaxScaleSource(endpoint, now=now.timestamp)
            maxscale.maxscale = clock_of(min(began.values()), now)
            ages = {ident: (now - start).total_seconds() for ident, start in began.items()}
            maxscale.sessions = old_answer(there, began, ages)
            for item in (await source.observe()).sessions:
                start = item.session.connect_time.ToDatetime(UTC)
                assert start == began[item.session.native_id]
            await source.close()

    asyncio.run(observe())


def test_the_recorded_statements_prove_their_zone(maxscale: MaxScale) -> None:
    """24.02 states starts in GMT and statements in local time: its sessions are young."""
    body = (DATA / "maxscale-24.02" / "sessions_odd.json").read_bytes()
    now = datetime(2026, 11, 25, 19, 49, 41, tzinfo=UTC)

    async def observe() -> None:
        async with maxscale.serving() as location:
            endpoint = Endpoint.of(SourceConfig.parse(f"maxscale+http://{location}"), port=1)
            source = MaxScaleSource(endpoint, statements=True, now=now.timestamp)
            maxscale.maxscale = clock_of(now - timedelta(seconds=30), now)
            maxscale.sessions = body
            for item in (await source.observe()).sessions:
                assert not item.unreadable
                for query in item.session.queries:
                    received = query.receive_time.ToDatetime(UTC)
                    assert timedelta(0) <= now - received <= timedelta(seconds=10)
            await source.close()

    asyncio.run(observe())


def clock_of(started: datetime, now: datetime) -> object:
    """Return what a MaxScale says of itself."""
    uptime = int((now - started).total_seconds())
    stated = f"{started:%a, %d %b %Y %H:%M:%S} GMT"
    return {"data": {"attributes": {"started_at": stated, "uptime": uptime}}}


def old_answer(
    zone: ZoneInfo, starts: dict[str, datetime], ages: dict[str, float] | None = None
) -> bytes:
    """Return sessions as versions up to 22.08 state them: local times, with a statement each."""
    service = {"services": {"data": [{"id": "RW", "type": "services"}]}}
    resources = []
    for ident, start in starts.items():
        local = start.astimezone(zone)
        attributes: dict[str, object] = {
            "state": "Session started",
            "connected": f"{local:%a %b %d %H:%M:%S %Y}",
            "queries": [{"statement": "SELECT 1", "received": f"{local:%Y-%m-%dT%H:%M:%S}.000"}],
        }
        if ages:
            attributes["seconds_alive"] = ages[ident]
        resources.append(
            {"id": ident, "type": "sessions", "attributes": attributes, "relationships": service}
        )
    return json.dumps({"data": resources}).encode()


def test_what_a_sessiongate_lacks_may_be_missing(maxscale: MaxScale) -> None:
    maxscale.maxscale = maxscale.servers = maxscale.services = None
    observation = observed(maxscale)
    assert observation.services == ()
    assert observation.incarnation is None
    assert [item.opened for item in observation.sessions] == [(), ()]


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        (301, "GET /v1/maxscale returned 301 Moved Permanently"),
        (401, "GET /v1/maxscale returned 401 Unauthorized"),
        (500, "GET /v1/maxscale returned 500 Internal Server Error"),
        (599, "GET /v1/maxscale returned 599"),
    ],
)
def test_a_status_is_named_and_a_redirect_not_followed(
    maxscale: MaxScale, status: int, complaint: str
) -> None:
    maxscale.status = status
    assert refused(maxscale) == complaint
    assert [request.path for request in maxscale.requests] == ["/v1/maxscale"]


@pytest.mark.parametrize(
    ("attribute", "value", "complaint"),
    [
        ("sessions", None, "/v1/sessions does not exist: this is not MaxScale"),
        ("sessions", b"<html>", "not JSON"),
        ("sessions", b"{}", "/data: missing"),
        ("maxscale", [], "/v1/maxscale: the document: expected an object"),
        ("maxscale", {"data": {"attributes": 5}}, "/v1/maxscale: /data/attributes: expected an"),
        ("servers", {"data": {}}, "/v1/servers: /data: expected an array"),
    ],
)
def test_an_answer_that_is_none_is_named(
    maxscale: MaxScale, attribute: str, value: object, complaint: str
) -> None:
    setattr(maxscale, attribute, value)
    assert refused(maxscale).startswith(complaint)


def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    maxscale: MaxScale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "MAX_RESPONSE_BYTES", 1024 * 1024)
    maxscale.sessions = b" " * (1024 * 1024 + 1)
    assert refused(maxscale) == "GET /v1/sessions: the response is larger than 1,024 KiB"


def test_the_certificate_is_verified(maxscale: MaxScale, tmp_path: Path) -> None:
    ours = certificates(tmp_path)
    (tmp_path / "other").mkdir()
    stranger = certificates(tmp_path / "other")

    async def observe() -> None:
        async with maxscale.serving(tls=ours) as location:
            async with opened(location, "https", tls_ca=str(ours.ca)) as source:
                assert len((await source.observe()).sessions) == 2
            async with opened(location, "https", tls_ca=str(stranger.ca)) as source:
                assert "certificate verify failed" in await refusal(source.observe())
            elsewhere = location.replace("127.0.0.1", "127.0.0.2")  # not in the certificate
            async with opened(elsewhere, "https", tls_ca=str(ours.ca)) as source:
                assert elsewhere in await refusal(source.observe())

    asyncio.run(observe())


def test_a_unix_socket_is_read_from_too(maxscale: MaxScale, tmp_path: Path) -> None:
    async def observe() -> None:
        async with (
            maxscale.serving(path=str(tmp_path / "rest.sock")) as location,
            opened(location) as source,
        ):
            assert len((await source.observe()).sessions) == 2

    asyncio.run(observe())


def test_one_that_hangs_is_waited_for(maxscale: MaxScale) -> None:
    async def observe() -> None:
        async with maxscale.serving() as location, opened(location) as source:
            before = await source.observe()
            maxscale.answers.clear()
            await hanging(source)
            maxscale.answers.set()
            after = await source.observe()
            assert [item.key for item in after.sessions] == [item.key for item in before.sessions]
            assert after.incarnation == before.incarnation

    asyncio.run(observe())


def test_one_that_is_gone_is_named_and_found_again(maxscale: MaxScale) -> None:
    async def observe() -> None:
        async with maxscale.serving() as location, Relay(maxscale.port) as relay:
            place = f"127.0.0.1:{relay.port}"
            for relay.cut_after in (1, 30, 200, 1000, 5000):
                async with opened(place) as source:
                    assert (await refusal(source.observe())).startswith(f"{place}: GET /v1/")
            relay.cut_after = None
            for relay.garble in range(0, 6000, 400):
                # Letters of a text may change, and a larger length is waited for.
                with suppress(SourceError, TimeoutError):
                    async with opened(place) as source, asyncio.timeout(0.5):
                        await source.observe()
            relay.garble = None
            async with opened(place) as source:
                assert len((await source.observe()).sessions) == 2
        async with opened(location) as source:
            assert "Connection refused" in await refusal(source.observe())

    asyncio.run(observe())


def test_another_machines_loopback_is_no_server_of_ours() -> None:
    body = json.dumps(SERVERS).encode()
    assert servers_of(body, is_here=True) == {"server1": ("127.0.0.1", 3306)}
    assert servers_of(body, is_here=False) == {}
    named = body.replace(b"127.0.0.1", b"db1.example")
    assert servers_of(named, is_here=True) == {}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Serving]:
    """Run a sessiongate that shows recorded sessions, the reference text's, and busy ones."""
    with Forked(
        *("--source", "synthetic:?sessions=50&seed=10&name=made"),
        *("--source", f"document:{DATA / 'maxscale-24.02' / 'sessions.json'}?name=recorded"),
        *("--source", f"document:{DATA / 'sessions.json'}?name=reference"),
    ) as program:
        yield program


def test_a_gateway_over_a_gateway_shows_the_same_sessions(gateway: Serving) -> None:
    with Forked("--source", f"maxscale+http://{gateway.http}?name=upstream") as second:
        below, above = get(gateway), get(second)
    assert len(below) == 55
    ids = {other["attributes"]["native_id"]: other["id"] for other in above}
    states = set()
    for one, other in zip(below, above, strict=True):
        attributes = other["attributes"]
        activity = one["attributes"].get("activity", {})
        states.add(activity.get("state"))
        if blockers := activity.get("blocked_by"):
            activity["blocked_by"] = [ids[ident] for ident in blockers]
        for name in ("source", "native_id"):  # of sessions that could not keep their ids
            one["attributes"].pop(name, None)
        assert attributes.pop("source") == "upstream"
        assert attributes.pop("native_id") == one["id"]
        idle = [each["attributes"].pop("idle", 0.0) for each in (one, other)]
        assert abs(idle[0] - idle[1]) <= 5
        for each in (one, other):
            del each["links"], each["relationships"]["services"]["links"]
        assert {**other, "id": ""} == {**one, "id": ""}
    assert len(states) == 7, "all activities, and none"


def get(program: Serving) -> list[dict[str, Any]]:
    """Return the sessions that a gateway shows."""
    answer = httpx.get(f"http://{program.http}/v1/sessions", trust_env=False)
    resources: list[dict[str, Any]] = answer.json()["data"]
    return resources


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("maxscale+http://ann:treasure@host?tls=off", "allows: .*statements, timezone, tls_ca"),
        ("maxscale+http://ann:treasure@host?tls_ca=/ca.pem", "tls_ca requires TLS"),
        ("maxscale+http://ann%3Ab:treasure@host", "the user must not contain a colon"),
        (
            "maxscale+https://ann:treasure@%2Frun%2Fmaxscale.sock",
            "a Unix socket does not support tls=verify",
        ),
        ("maxscale+http:host", "does not start with //"),
    ],
)
def test_a_wrong_configuration_is_named(url: str, complaint: str) -> None:
    with pytest.raises(SourceConfigError, match=complaint) as caught:
        open_source(SourceConfig.parse(url, {"name": "here"}))
    assert "treasure" not in str(caught.value)
