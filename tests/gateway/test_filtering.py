"""Filters, from the URL to the document."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from json import dumps
from typing import Any

import httpx
import pytest

from tests.gateway.fleet import SERVICES, SIZE, STATES
from tests.gateway.programs import one_view

Item = dict[str, Any]


def attribute(item: Item, *names: str) -> Any:
    """Return an attribute or a part of one; None if it is missing."""
    found = item["attributes"]
    for name in names:
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found or None


def service(item: Item) -> str:
    """Return a session's service."""
    name: str = item["relationships"]["services"]["data"][0]["id"]
    return name


def is_on(name: str, item: Item) -> bool:
    """Return whether a session is on the service."""
    return service(item) == name


def servers(item: Item) -> list[str]:
    """List a session's servers."""
    return [found["server"] for found in item["attributes"].get("connections", [])]


CASES: list[tuple[list[tuple[str, str]], Callable[[Item], bool]]] = [
    ([("filter", "id=7")], lambda s: s["id"] == "7"),
    ([("filter", 'id="7"')], lambda s: s["id"] == "7"),
    ([("filter", "id=7.0")], lambda s: s["id"] == "7"),
    ([("filter", 'id="07"')], lambda s: False),
    ([("filter", "id=and(ge(50),le(55))")], lambda s: 50 <= int(s["id"]) <= 55),
    ([("filter", "id=ge(9.5)"), ("filter", "id=lt(11.5)")], lambda s: int(s["id"]) in (10, 11)),
    ([("filter", "/attributes/port=gt(5050)")], lambda s: (attribute(s, "port") or 0) > 5050),
    ([("filter", "attributes/port=5001.0")], lambda s: attribute(s, "port") == 5001),
    ([("filter", '/attributes/port="5001"')], lambda s: False),
    ([("filter[attributes.user]", 'eq("user1")')], lambda s: attribute(s, "user") == "user1"),
    (
        [("filter[attributes.user]", 'or(eq("user1"),eq("user2"))')],
        lambda s: attribute(s, "user") in ("user1", "user2"),
    ),
    (
        [("filter[attributes.user]", 'not(eq("user1"),"user2")')],
        lambda s: attribute(s, "user") not in (None, "user1", "user2"),
    ),
    ([("filter[attributes.user]", "null")], lambda s: False),
    (
        [("filter[$.attributes.connections[*].server]", '"db-1"')],
        lambda s: "db-1" in servers(s),
    ),
    (
        [("filter[attributes.connections[*].server]", 'ne("db-9")')],
        lambda s: bool(servers(s)),
    ),
    (
        [("filter[attributes.connections[0].connection_id]", "ge(30)")],
        lambda s: bool(servers(s)) and int(s["id"]) >= 30,
    ),
    (
        [("filter[$['attributes']['client']['cipher']]", '"TLS_AES_256_GCM_SHA384"')],
        lambda s: bool(servers(s)),
    ),
    (
        [("filter[$..program]", '"p9"')],
        lambda s: attribute(s, "client", "connection_attributes", "program") == "p9",
    ),
    (
        [("filter[$.attributes.connections[?@.connection_id>50].server]", '"db-0"')],
        lambda s: "db-0" in servers(s) and int(s["id"]) > 50,
    ),
    (
        [("filter[attributes.state]", '"Listener Session"')],
        lambda s: attribute(s, "state") == "Listener Session",
    ),
    ([("filter[attributes.state]", '"Invalid State"')], lambda s: False),
    ([("filter[attributes.state]", '"No State"')], lambda s: False),
    (
        [("filter[attributes.application]", '"\\"quoted\\" \\u2028"')],
        lambda s: bool(servers(s)),
    ),
    ([("filter", '/attributes/database="shöp"')], lambda s: bool(servers(s))),
    ([("filter", '/attributes/remote=or("192.0.2.7","192.0.2.07","x")')], lambda s: s["id"] == "7"),
    ([("filter", '/attributes/source="fleet.json"')], lambda s: False),
    ([("filter", '/attributes/application=""')], lambda s: False),
    (
        [
            ("filter", '/attributes/user=or("user1","user2")'),
            ("filter", '/attributes/database="shöp"'),
            ("filter", '/attributes/state="Session ready for routing"'),
        ],
        lambda s: False,
    ),
    (
        [
            ("filter", '/attributes/user=or("user1","user2")'),
            ("filter", '/attributes/database="shöp"'),
        ],
        lambda s: attribute(s, "user") in ("user1", "user2") and bool(servers(s)),
    ),
    (
        [
            ("filter[attributes.user]", '"user1"'),
            ("filter[attributes.user]", '"user2"'),
        ],
        lambda s: False,
    ),
    *(
        (
            [("filter", f"/relationships/services/data/0/id={dumps(name)}")],
            partial(is_on, name),
        )
        for name in SERVICES
    ),
]


@pytest.fixture(scope="module")
def everything(fleet: httpx.Client) -> list[Item]:
    """List all sessions, which stay as they are."""
    found: list[Item] = fleet.get("/v1/sessions").json()["data"]
    assert len(found) == SIZE
    return found


@pytest.mark.parametrize(("filters", "expected"), CASES, ids=[str(case[0])[:70] for case in CASES])
def test_a_filter(
    fleet: httpx.Client,
    everything: list[Item],
    filters: list[tuple[str, str]],
    expected: Callable[[Item], bool],
) -> None:
    wanted = [item["id"] for item in everything if expected(item)]
    document = fleet.get("/v1/sessions", params=tuple(filters)).json()
    assert [item["id"] for item in document["data"]] == wanted
    assert [*httpx.URL(document["links"]["self"]).params.multi_items()] == filters
    page = fleet.get("/v1/sessions", params=(*filters, ("page[size]", "2"))).json()
    assert [item["id"] for item in page["data"]] == wanted[:2]
    assert page["meta"] == {"total": len(wanted)}


def test_services_are_filtered_the_same_way(fleet: httpx.Client) -> None:
    everything = fleet.get("/v1/services").json()["data"]
    for query, expected in [
        ('filter=id=ge("a")', [item for item in everything if item["id"] >= "a"]),
        (
            "filter[attributes.listeners]=gt(1)",
            [item for item in everything if item["attributes"]["listeners"] > 1],
        ),
        ('filter[$.attributes.sources[*]]="fleet.json"', everything),
        (
            'filter[attributes.started]=ne("")',
            [i for i in everything if "started" in i["attributes"]],
        ),
    ]:
        assert fleet.get(f"/v1/services?{query}").json()["data"] == expected


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/services/RW-Split-Router/sessions"])
def test_the_ages_of_sessions_are_found_by_the_core_with_every_other_parameter(
    fleet: httpx.Client, path: str
) -> None:
    def found(**query: str) -> list[Item]:
        answer = fleet.get(path, params=query)
        assert answer.status_code == 200, answer.text
        items: list[Item] = answer.json()["data"]
        return items

    def ids(**query: str) -> list[str]:
        return [item["id"] for item in found(**query)]

    idle = [item["id"] for item in found() if "idle" in item["attributes"]]
    assert ids(min_idle="0") == idle
    assert ids(min_idle="999999999") == ids(min_activity_duration="0") == []
    assert ids(min_idle="0", sort="-id") == idle[::-1]
    assert ids(**{"min_idle": "0", "page[size]": "2", "page[number]": "1"}) == idle[2:4]
    state = f'/attributes/state="{STATES[0]}"'
    assert ids(min_idle="0", filter=state) == [one for one in idle if int(one) % 3 == 0]
    assert ids(min_idle="0", filter="id=gt(30)") == [one for one in idle if int(one) > 30]
    assert ids(**{"min_idle": "0", "page[size]": "3", "page[after]": idle[0]}) == idle[1:4]


@one_view
@pytest.mark.parametrize(
    "given", ["-1", "", "1e9", "0x10", "1000000000", "NaN", "\u0661", "10s", "+1"]
)
def test_an_age_that_is_no_number_of_seconds_is_refused(fleet: httpx.Client, given: str) -> None:
    answer = fleet.get("/v1/sessions", params={"min_idle": given})
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["source"] == {"parameter": "min_idle"}
    assert error["detail"].startswith("min_idle must be a number from 0 to 999999999, such as")
