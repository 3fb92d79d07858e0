"""``maxscale+http://`` over real HTTP: recorded answers, and a sessiongate as its MaxScale."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.sources import rest
from core.sources.base import Observation, SourceConfig, SourceConfigError, SourceError, Wire
from core.sources.maxscale import MaxScaleSource, open_source, read_servers
from core.sources.network import Endpoint
from tests.core.observing import hanging, refusal
from tests.maxscale import SERVERS, MaxScale
from tests.program import DATA, Serving
from tests.relay import Relay
from tests.servers import certificates

PASSWORD = "open sesame"
MEMORY = ("--ledger", "sqlite://")  # what a program on its own keeps its ids in


@pytest.fixture
def maxscale() -> MaxScale:
    return MaxScale()


@asynccontextmanager
async def opened(
    location: str, scheme: str = "http", **options: str
) -> AsyncIterator[MaxScaleSource]:
    """A source for a location, with a user and a password."""
    url = f"maxscale+{scheme}://ann@{location}"
    source = open_source(SourceConfig.parse(url, {"password": PASSWORD, **options}))
    try:
        yield source
    finally:
        await source.close()


def observed(maxscale: MaxScale, **options: str) -> Observation:
    """One observation of what it answers."""

    async def observe() -> Observation:
        async with maxscale.serving() as location, opened(location, **options) as source:
            return await source.observe()

    return asyncio.run(observe())


def refused(maxscale: MaxScale, **options: str) -> str:
    """The error that one observation of what it answers ends with, without its place."""

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
    # The MaxScale is on this machine: its loopback is ours.
    assert one.opened == (Wire(server=("127.0.0.1", 3306), server_id=9),)


@pytest.mark.parametrize(("statements", "asked"), [("false", False), ("true", True)])
def test_only_what_is_used_is_asked_for(maxscale: MaxScale, statements: str, asked: bool) -> None:
    observed(maxscale, statements=statements)
    queries = {request.path: request.query for request in maxscale.requests}
    assert list(queries) == ["/v1/maxscale", "/v1/servers", "/v1/sessions"]
    fields = queries["/v1/sessions"]["fields[sessions]"].split(",")
    assert {"state", "connected", "services", "memory/total"} <= set(fields)
    assert ("queries" in fields) == asked
    assert queries["/v1/maxscale"]["fields[maxscale]"] == "started_at,uptime"
    login = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    assert {request.headers["Authorization"] for request in maxscale.requests} == {f"Basic {login}"}


def test_one_connection_is_used_again(maxscale: MaxScale) -> None:
    async def observe() -> None:
        async with maxscale.serving() as location, opened(location) as source:
            assert await source.observe() is await source.observe()

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


def test_what_a_sessiongate_lacks_may_be_missing(maxscale: MaxScale) -> None:
    maxscale.maxscale = maxscale.servers = None
    observation = observed(maxscale)
    assert observation.incarnation is None
    assert [item.opened for item in observation.sessions] == [(), ()]


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        (301, "GET /v1/maxscale was answered with 301 Moved Permanently"),
        (401, "GET /v1/maxscale was answered with 401 Unauthorized"),
        (500, "GET /v1/maxscale was answered with 500 Internal Server Error"),
        (599, "GET /v1/maxscale was answered with 599"),
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
        ("sessions", None, "there is no /v1/sessions: this is no MaxScale"),
        ("sessions", b"<html>", "this is not JSON"),
        ("sessions", b"{}", "/data: missing"),
        ("maxscale", {"data": {"attributes": {"started_at": 5}}}, "/data/attributes/started_at: "),
        ("maxscale", [], "the document: expected an object"),
        ("servers", {"data": {}}, "/data: expected an array"),
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
    monkeypatch.setattr(rest, "MAX_BYTES", 1024 * 1024)
    maxscale.sessions = b" " * (1024 * 1024 + 1)
    assert refused(maxscale) == "GET /v1/sessions: more than 1 MiB"


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
            assert await source.observe() is before

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
                # Of a text the letters may be others, and a larger length is waited for.
                with suppress(SourceError, TimeoutError):
                    async with opened(place) as source, asyncio.timeout(0.5):
                        await source.observe()
            relay.garble = None
            async with opened(place) as source:
                assert len((await source.observe()).sessions) == 2
        async with opened(location) as source:
            assert "Connect call failed" in await refusal(source.observe())

    asyncio.run(observe())


def test_another_machines_loopback_is_no_server_of_ours() -> None:
    body = json.dumps(SERVERS).encode()
    assert read_servers(body, is_here=True) == {"server1": ("127.0.0.1", 3306)}
    assert read_servers(body, is_here=False) == {}
    named = body.replace(b"127.0.0.1", b"db1.example")
    assert read_servers(named, is_here=True) == {}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Serving]:
    """A sessiongate that shows the recorded sessions and the reference text's."""
    with Serving(
        *MEMORY,
        *("--source", f"document:{DATA / 'maxscale-24.02' / 'sessions.json'}?name=recorded"),
        *("--source", f"document:{DATA / 'sessions.json'}?name=reference"),
    ) as program:
        yield program


def test_a_gateway_over_a_gateway_shows_the_same_sessions(gateway: Serving) -> None:
    with Serving(*MEMORY, "--source", f"maxscale+http://{gateway.http}?name=upstream") as second:
        below, above = get(gateway), get(second)
    assert len(below) == 5
    for one, other in zip(below, above, strict=True):
        attributes = other["attributes"]
        assert attributes.pop("source") == "upstream"
        assert attributes.pop("native_id") == one["id"]
        idle = [each["attributes"].pop("idle", 0.0) for each in (one, other)]
        assert abs(idle[0] - idle[1]) <= 5
        for each in (one, other):
            del each["links"], each["relationships"]["services"]["links"]
        assert other == one


def get(program: Serving) -> list[dict[str, Any]]:
    """The sessions that a gateway shows."""
    answer = httpx.get(f"http://{program.http}/v1/sessions", trust_env=False)
    resources: list[dict[str, Any]] = answer.json()["data"]
    return resources


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("maxscale+http://ann:treasure@host?tls=off", "allows: .*statements, tls_ca"),
        ("maxscale+http://ann:treasure@host?tls_ca=/ca.pem", "tls_ca is of use with TLS only"),
        ("maxscale+http://ann%3Ab:treasure@host", "a user has no colon"),
        ("maxscale+https://ann:treasure@%2Frun%2Fmaxscale.sock", "a Unix socket has no TLS"),
        ("maxscale+http:host", "does not start with //"),
    ],
)
def test_a_wrong_configuration_is_named(url: str, complaint: str) -> None:
    with pytest.raises(SourceConfigError, match=complaint) as caught:
        open_source(SourceConfig.parse(url, {"name": "here"}))
    assert "treasure" not in str(caught.value)
