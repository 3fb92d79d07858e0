"""Following links reaches everything."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any

import httpx
import jsonapi_client  # type: ignore[import-untyped]
import pytest

from sessiongate.gateway.jsonapi.paging import PROFILE
from tests.gateway.fleet import SERVICES, SIZE
from tests.gateway.programs import LONG, Gateway

STARTS = [
    "/v1/",
    "/v1/sessions?page[size]=13&sort=-user&filter=id=lt(40)&pretty=true",
    "/v1/sessions?page[size]=7&page[after]=20&include=services&fields[sessions]=state,services",
    "/v1/services?page[size]=3&page[before]=a",
    "/v1/sources?page[size]=1",
]


def links_in(value: Any) -> Iterator[str]:
    """Yield every link in a document, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from links_in(item)
    elif isinstance(value, dict):
        for name, member in value.items():
            if name == "links":
                yield from (link for link in member.values() if link is not None)
            else:
                yield from links_in(member)


def test_every_link_of_every_document_is_answered(walker: httpx.Client) -> None:
    base = "http://localhost:8989"
    starts = [base + start for start in STARTS]
    links: dict[str, set[str]] = {}  # of each document, by its own link
    ahead = [*starts]
    while ahead:
        link = ahead.pop()
        if link in links:
            continue
        assert link.startswith(base)
        answer = walker.get(walker.base_url.copy_with(raw_path=link.removeprefix(base).encode()))
        assert answer.status_code == 200, link
        is_document = answer.headers["content-type"].startswith("application/vnd.api+json")
        links[link] = set(links_in(answer.json())) if is_document else set()
        ahead += links[link]
    for start in starts[:-1]:
        reached, ahead = {start}, [start]
        while ahead:
            others = links[ahead.pop()] - reached
            reached |= others
            ahead += others
        assert len(reached) > SIZE + len(SERVICES), f"not even each thing from {start}"


@pytest.fixture(scope="module")
def services(fleet: httpx.Client) -> dict[str, Any]:
    """List the services, which stay as they are, by name."""
    return {item["id"]: item for item in fleet.get("/v1/services").json()["data"]}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_any_name_is_found_by_its_link(
    fleet: httpx.Client, services: dict[str, Any], name: str
) -> None:
    link = services[name]["links"]["self"].removeprefix("http://localhost:8989")
    answer = fleet.get(link)
    assert answer.json()["data"] == services[name]
    on_it = fleet.get(f"{link}/sessions").json()
    assert on_it["links"]["self"] == f"http://localhost:8989{link}/sessions"
    names = {
        service["id"]
        for item in on_it["data"]
        for service in item["relationships"]["services"]["data"]
    }
    assert names == {name}
    assert len(on_it["data"]) == sum(
        answer.json()["data"]["attributes"][kind] for kind in ("connections", "listeners")
    )


def test_a_name_may_be_sent_as_it_is(fleet_gateway: Gateway) -> None:
    """Clients ought to encode it; some do not."""
    path, query = "/v1/services/naïve%20café", "filter[id]=%22naïve+café%22"
    with socket.create_connection(("127.0.0.1", fleet_gateway.port), LONG) as wire:
        for target in (path, f"/v1/services?{query}"):
            wire.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = HTTPResponse(wire)
            answer.begin()
            document = json.loads(answer.read())
            found = document["data"]
            item = found if isinstance(found, dict) else found[0]
            assert item["id"] == "naïve café"


def test_services_count_their_sessions(fleet: httpx.Client) -> None:
    services = fleet.get("/v1/services").json()["data"]
    assert [item["id"] for item in services] == sorted(SERVICES)
    sessions = fleet.get("/v1/sessions").json()["data"]
    for service in services:
        mine = [
            item["attributes"]
            for item in sessions
            if item["relationships"]["services"]["data"][0]["id"] == service["id"]
        ]
        listeners = [item for item in mine if item["state"] == "Listener Session"]
        attributes = service["attributes"]
        assert attributes["listeners"] == len(listeners)
        assert attributes["connections"] == len(mine) - len(listeners)
        assert attributes["statistics"] == {"connections": attributes["connections"]}
        assert attributes["sources"] == ["fleet.json"]
        assert attributes.get("started") in ([item["connected"] for item in listeners] or [None])


def test_a_json_api_client_walks_everywhere(fleet_gateway: Gateway) -> None:
    """jsonapi-client, which knows only the start, and itself checks JSON:API 1.0's schema."""

    sessions, services = set(), set()
    client = jsonapi_client.Session(f"{fleet_gateway.url}/v1")
    asked = jsonapi_client.Modifier("page[size]=17&include=services")
    for item in client.get("sessions", asked).iterator():
        sessions.add(item.id)
        assert item.state
        services |= {service.id for service in item.services}
    assert sessions == {str(n) for n in range(1, SIZE + 1)}
    assert services == set(SERVICES)
    on_them = set()
    for service in client.get("services").resources:
        on_them |= {item.id for item in service.sessions}
    assert on_them == sessions


def test_the_profile_s_pages_link_to_each_other(fleet: httpx.Client) -> None:
    accept = {"Accept": f'application/vnd.api+json;profile="{PROFILE}"'}
    link: str | None = "/v1/sessions?page[size]=25"
    seen: list[str] = []
    while link is not None:
        document = fleet.get(link.removeprefix("http://localhost:8989"), headers=accept).json()
        seen += [item["id"] for item in document["data"]]
        assert document["meta"] == {"page": {"total": SIZE}}
        link = document["links"]["next"]
    assert seen == [str(n) for n in range(1, SIZE + 1)]
