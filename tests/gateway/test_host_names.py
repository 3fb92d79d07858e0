"""Names of clients' addresses: shown on request, and never waited for long."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from sessiongate.gateway.api import host_names
from sessiongate.gateway.api.host_names import (
    MAX_LOOKUPS,
    REMEMBERED,
    WAIT,
    HostNames,
    LookUp,
    Naming,
    by_dns,
)
from tests.gateway.programs import LONG, VIEWS, in_process, one_view, running_core
from tests.runtime.clock import Clock

REMOTES = {
    "1": "192.0.2.1",
    "2": "192.0.2.2",
    "3": "2001:db8::3",
    "4": "/run/db.sock",
    "5": None,
    "6": "192.0.2.1",
}
NAMES = {
    "192.0.2.1": "zulu.example",
    "192.0.2.2": "alfa.example",
    "/run/db.sock": "no.address",
    "2001:db8::3": None,
}


class Resolver:
    """Looks names up in a table, and counts the look-ups."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def __call__(self, address: str) -> str | None:
        self.asked[address] += 1
        return NAMES[address]


@pytest.fixture(scope="module")
def named_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a core that shows a session for each of `REMOTES`."""
    path = tmp_path_factory.mktemp("names") / "sessions.json"
    items = [
        {
            "id": ident,
            "type": "sessions",
            "relationships": {"services": {"data": [{"id": "app", "type": "services"}]}},
            "attributes": {
                "state": "Session started",
                "connected": "Wed May 17 10:06:35 2017",
                **({"remote": remote} if remote else {}),
            },
        }
        for ident, remote in REMOTES.items()
    ]
    path.write_text(json.dumps({"data": items}))
    with running_core(f"document:{path}") as address:
        yield address


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make look-ups wait for every name, however slow the machine is."""
    monkeypatch.setattr(host_names, "WAIT", LONG)


def run(
    core: str, view: str, look_up: LookUp, test: Callable[[httpx.AsyncClient], Awaitable[None]]
) -> None:
    async def main() -> None:
        async with asyncio.timeout(LONG), in_process(core, look_up, **VIEWS[view]) as http:
            await test(http)

    asyncio.run(main())


def remotes(document: dict[str, Any]) -> list[str | None]:
    data = document["data"]
    found = data if isinstance(data, list) else [data]
    return [item.get("attributes", {}).get("remote") for item in found]


SHOWN = ["zulu.example", "alfa.example", "2001:db8::3", "/run/db.sock", None, "zulu.example"]


def test_remote_is_shown_by_its_name(named_core: str, view: str) -> None:
    resolver = Resolver()

    async def test(http: httpx.AsyncClient) -> None:
        for path in ("/v1/sessions", "/v1/services/app/sessions"):
            plain = (await http.get(path)).json()
            assert remotes(plain) == [*REMOTES.values()]
            for query in ("rdns=true", "rdns", "rdns&pretty", "rdns=on&page[size]=100"):
                named = (await http.get(f"{path}?{query}")).json()
                assert remotes(named) == SHOWN
                for item in (*plain["data"], *named["data"]):
                    item["attributes"].pop("remote", None)
                assert plain["data"] == named["data"]
        assert remotes((await http.get("/v1/sessions/2?rdns=true")).json()) == ["alfa.example"]
        assert remotes((await http.get("/v1/sessions/2?rdns=false")).json()) == ["192.0.2.2"]
        # Each once, and what is not an address not at all.
        assert resolver.asked == {"192.0.2.1": 1, "192.0.2.2": 1, "2001:db8::3": 1}

    run(named_core, view, resolver, test)


def test_filters_and_order_go_by_the_address(named_core: str, view: str) -> None:
    async def test(http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/sessions?rdns&sort=remote&page[size]=3")
        assert remotes(answer.json()) == ["/run/db.sock", "zulu.example", "zulu.example"]
        assert "rdns=true" in answer.json()["links"]["next"]
        answer = await http.get('/v1/sessions?rdns&filter[attributes.remote]="192.0.2.2"')
        assert remotes(answer.json()) == ["alfa.example"]
        answer = await http.get('/v1/sessions?rdns&filter[attributes.remote]="alfa.example"')
        assert remotes(answer.json()) == []

    run(named_core, view, Resolver(), test)


def test_no_name_is_looked_up_for_what_is_not_shown(named_core: str, view: str) -> None:
    resolver = Resolver()

    async def test(http: httpx.AsyncClient) -> None:
        await http.get("/v1/sessions?rdns&fields[sessions]=state")
        await http.get("/v1/sessions?rdns&page[size]=1&page[number]=1&fields[sessions]=remote")
        assert resolver.asked == {"192.0.2.2": 1}

    run(named_core, view, resolver, test)


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/sessions/1", "/v1/services/app/sessions"])
def test_an_answer_with_names_has_no_validators(named_core: str, view: str, path: str) -> None:
    async def test(http: httpx.AsyncClient) -> None:
        etag = (await http.get(path)).headers["etag"]
        for headers in ({}, {"If-None-Match": "*"}, {"If-None-Match": etag}):
            answer = await http.get(f"{path}?rdns", headers=headers)
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "no-store"
            assert {"etag", "last-modified"}.isdisjoint(answer.headers)

    run(named_core, view, Resolver(), test)


def test_a_resolver_that_does_not_answer_holds_up_nobody(
    named_core: str, view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_names, "WAIT", WAIT)
    answering = threading.Event()

    def stuck(address: str) -> str | None:
        answering.wait()
        return NAMES[address]

    async def test(http: httpx.AsyncClient) -> None:
        try:
            assert remotes((await http.get("/v1/sessions?rdns")).json()) == [*REMOTES.values()]
            assert remotes((await http.get("/v1/sessions")).json()) == [*REMOTES.values()]
        finally:
            answering.set()
        while remotes((await http.get("/v1/sessions?rdns")).json()) != SHOWN:
            pass

    run(named_core, view, stuck, test)


@one_view
@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/sessions?rdns=2", "rdns"),
        ("/v1/sessions?rdns=", "rdns"),
        ("/v1/services?rdns", "rdns"),
        ("/v1/sessions/1/services?rdns=true", "rdns"),
    ],
)
def test_where_it_is_a_mistake(http: httpx.Client, path: str, parameter: str) -> None:
    [error] = http.get(path).json()["errors"]
    assert (error["status"], error["source"]) == ("400", {"parameter": parameter})


def test_a_stream_shows_no_names(http: httpx.Client) -> None:
    events = {"Accept": "text/event-stream"}
    [error] = http.get("/v1/sessions?rdns", headers=events).json()["errors"]
    assert error["source"] == {"parameter": "rdns"}


def addresses(count: int) -> list[str]:
    return [
        f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}" for number in range(count)
    ]


def test_a_request_looks_up_so_many_names_and_no_more() -> None:
    asked: Counter[str] = Counter()

    def look_up(address: str) -> str:
        asked[address] += 1
        return f"host-{address}"

    async def main() -> None:
        names = HostNames(look_up)
        many = addresses(MAX_LOOKUPS + 50)
        request = Naming(names)
        first = await request.of(many[:10])
        assert first == {address: f"host-{address}" for address in many[:10]}
        found = await request.of(many)
        assert [*found] == many[:MAX_LOOKUPS]  # the first ten are remembered, and asked once
        assert await request.of(many) == found
        assert set(asked.values()) == {1}
        assert len(asked) == MAX_LOOKUPS
        assert len(await Naming(names).of(many)) == len(many)
        names.close()

    asyncio.run(main())


def test_names_are_remembered_for_a_while_and_within_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(host_names, "monotonic", clock)
    monkeypatch.setattr(host_names, "MAX_REMEMBERED", 3)
    asked: list[str] = []

    def look_up(address: str) -> str | None:
        asked.append(address)
        return None if address.endswith("9") else "some.example"

    async def main() -> None:
        names = HostNames(look_up)
        for seconds, more in (
            (0.0, ["10.0.0.1", "10.0.0.9"]),
            (REMEMBERED - 1, []),  # the absence of a name is remembered too
            (1.0, ["10.0.0.1", "10.0.0.9"]),
        ):
            clock.now += seconds
            asked.clear()
            for address in ("10.0.0.1", "10.0.0.9"):
                await Naming(names).of([address])
            assert asked == more
        for address in ("10.0.0.2", "10.0.0.3", "10.0.0.9", "10.0.0.1"):
            await Naming(names).of([address])
        assert asked == [*more, "10.0.0.2", "10.0.0.3", "10.0.0.1"]  # the oldest is forgotten
        names.close()

    asyncio.run(main())


def test_a_name_that_is_none_is_not_shown() -> None:
    told = {"10.0.0.1": "<script>", "10.0.0.2": "x" * 300, "10.0.0.3": "good-1.example"}

    async def main() -> None:
        names = HostNames(told.get)
        assert await Naming(names).of(told) == {"10.0.0.3": "good-1.example"}
        names.close()

    asyncio.run(main())


def test_this_machine_knows_itself() -> None:
    assert by_dns("127.0.0.1") == socket.gethostbyaddr("127.0.0.1")[0]
