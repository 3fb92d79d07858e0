"""Counts over REST, compared with a plain count of the sessions that the list shows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from sessiongate.v1.session_pb2 import (
    ACTIVITY_STATE_IDLE_IN_TRANSACTION,
    SESSION_STATE_STARTED,
    SESSION_STATE_UNSPECIFIED,
    Activity,
    Session,
)
from sessiongate.v1.states import STATE_WORDS
from tests.gateway.programs import DATA, VIEWS, in_process
from tests.gateway.test_pages import answering_from_its_copy, shown

STATES = [*STATE_WORDS.values()]
COUNTS = "/v1/counts"
DOCUMENTED = ("CLI", "RW-Split-Router", "Read-Connection-Router")
OTHERS = ("user", "application", "database", "remote", "state")


def value_of(session: dict[str, Any], name: str) -> str | None:
    """Return what a session is counted by, as its resource object shows it."""
    found: str | None
    if name == "service":
        found = next((one["id"] for one in session["relationships"]["services"]["data"]), None)
    elif name == "activity":
        found = session["attributes"].get("activity", {}).get("state")
    else:
        found = session["attributes"].get(name)
    return found


def rank(value: str | None) -> tuple[bool, int, str | None]:
    """Return what values are in the order of: states by number, texts by code point."""
    return value is None, STATES.index(value) if value in STATES else 0, value


def ask(client: httpx.Client, **parameters: str) -> dict[str, Any]:
    answer = client.get(COUNTS, params=parameters)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


@pytest.fixture(scope="module")
def listed(fleet: httpx.Client) -> Callable[[str | None], list[Any]]:
    """Return a function that lists the sessions that a filter selects, which stay as they are."""

    @cache
    def ask_for(filter_: str | None) -> list[Any]:
        selected = {} if filter_ is None else {"filter": filter_}
        found: list[Any] = fleet.get("/v1/sessions", params=selected).json()["data"]
        return found

    return ask_for


@pytest.mark.parametrize(
    "by",
    [*((name,) for name in ("service", "activity", *OTHERS)), ("user", "state", "remote")],
    ids=",".join,
)
@pytest.mark.parametrize(
    "filter_",
    [
        None,
        '/attributes/user=or("user1","user2")',
        "attributes/port=lt(5030)",
        '/attributes/remote="192.0.2.1"',
    ],
    ids=["all", "by the core", "by rows", "as texts"],
)
def test_counts_are_those_of_the_list(
    fleet: httpx.Client,
    listed: Callable[[str | None], list[Any]],
    by: tuple[str, ...],
    filter_: str | None,
) -> None:
    selected = {} if filter_ is None else {"filter": filter_}
    expected = Counter(tuple(value_of(one, name) for name in by) for one in listed(filter_))
    document = ask(fleet, by=",".join(by), **selected)
    found = [
        (tuple(one["attributes"][name] for name in by), one["attributes"]["count"])
        for one in document["data"]
    ]
    assert dict(found) == expected
    assert document["meta"]["total"] == len(found) == len(expected)
    assert found == sorted(found, key=lambda one: (-one[1], [rank(value) for value in one[0]]))
    for one, (values, _) in zip(document["data"], found, strict=True):
        assert one["type"] == "counts"
        assert one["id"] == ",".join("*" if v is None else quote(v, safe="") for v in values)


def test_pages_are_the_counts_cut(fleet: httpx.Client) -> None:
    whole = ask(fleet, by="remote,user")
    link: str | None = f"{COUNTS}?by=remote,user&page[size]=7"
    found = []
    while link is not None:
        document = fleet.get(link.removeprefix("http://localhost:8989")).json()
        assert document["meta"] == whole["meta"]
        assert 0 < len(document["data"]) <= 7
        found += document["data"]
        link = document["links"].get("next")
    assert found == whole["data"]
    beyond = ask(fleet, by="remote,user", **{"page[size]": "7", "page[number]": "99999"})
    assert beyond["data"] == []
    assert beyond["meta"] == whole["meta"]


def test_a_page_has_links_even_if_none_is_requested(http: httpx.Client) -> None:
    document = ask(http, by="service,user", pretty="true")
    start = "http://localhost:8989/v1/counts/?by=service%2Cuser"
    links = document["links"]
    assert links.keys() == {"self", "first", "last"}
    assert links["self"].startswith(start)
    assert http.get(links["self"].removeprefix("http://localhost:8989")).json() == document
    assert document["data"][0] == {
        "id": "CLI,*",
        "type": "counts",
        "attributes": {"service": "CLI", "user": None, "count": 1},
    }
    assert document["meta"] == {"total": 3}


@pytest.mark.parametrize("filter_", [None, "id=ge(1)"], ids=["by the core", "by rows"])
def test_a_count_has_the_validators_of_the_table(fleet: httpx.Client, filter_: str | None) -> None:
    parameters = {"by": "user"} | ({} if filter_ is None else {"filter": filter_})
    first = fleet.get(COUNTS, params=parameters)
    etag = first.headers["etag"]
    table = fleet.get("/v1/sessions").headers
    assert etag.partition("-")[0] == table["etag"].partition("-")[0]
    assert first.headers["last-modified"] == table["last-modified"]
    again = fleet.get(COUNTS, params=parameters, headers={"If-None-Match": etag})
    assert (again.status_code, again.headers["etag"]) == (304, etag)
    other = fleet.get(COUNTS, params={"by": "state"}, headers={"If-None-Match": etag})
    assert other.status_code == 200


def test_what_depends_on_the_clock_has_no_validator(fleet: httpx.Client) -> None:
    idle = "/attributes/idle=ge(0)"
    listed = fleet.get("/v1/sessions", params={"filter": idle}).json()["data"]
    for wanted in ({"filter": idle}, {"min_idle": "0"}, {"min_idle": "0", "filter": "id=ge(1)"}):
        answer = fleet.get(COUNTS, params={"by": "user", **wanted})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers
        counts = [one["attributes"]["count"] for one in answer.json()["data"]]
        assert sum(counts) == len(listed) > 0
    assert ask(fleet, by="user", min_idle="900000000")["data"] == []


@pytest.mark.parametrize("names", ["state", "activity", "remote", "source,service"])
def test_counts_by_the_core_are_those_by_rows(view: str, names: str) -> None:
    """Also of what this version does not know, and of addresses in several spellings."""
    unknown: Any = 77
    none, started = SESSION_STATE_UNSPECIFIED, SESSION_STATE_STARTED
    in_transaction = ACTIVITY_STATE_IDLE_IN_TRANSACTION
    sessions = [
        Session(id=10, state=unknown, remote="192.0.2.1", activity=Activity(state=unknown)),
        Session(id=11, state=none, remote="::ffff:192.0.2.1", activity=Activity(state=unknown)),
        Session(
            id=12, state=started, remote="/run/db.sock", activity=Activity(state=in_transaction)
        ),
        Session(id=13, state=started, remote="2001:DB8::1", service="a,b%"),
        Session(id=14, state=started, remote="2001:db8:0::1%eth0", service="*"),
    ]
    source = SourceConfig.parse(f"document:{DATA / 'sessions.json'}")

    async def test() -> None:
        config = CoreConfig(sources=(source,), grpc="127.0.0.1:0", ledger="sqlite://", grace=0.5)
        async with Core(config) as core, in_process(core.address, **VIEWS[view]) as http:
            await core.table.ready.wait()
            if view == "replica":
                await answering_from_its_copy(http)
            core.table.apply(sessions, ())
            while await shown(http) != {1, 2, 3, 10, 11, 12, 13, 14}:
                pass
            by_core = (await http.get(f"{COUNTS}?by={names}")).json()
            by_rows = (await http.get(f"{COUNTS}?by={names}&filter=id=ge(1)")).json()
            assert by_core["data"] == by_rows["data"]
            assert by_core["meta"] == by_rows["meta"]
            found = {one["id"]: one["attributes"]["count"] for one in by_core["data"]}
            assert (
                found
                == {
                    "state": {
                        "Session%20started": 3,
                        "Listener%20Session": 3,
                        "Invalid%20State": 2,
                    },
                    "activity": {"idle%20in%20transaction": 1, "*": 7},
                    "remote": {
                        "*": 3,
                        "192.0.2.1": 2,
                        "2001%3Adb8%3A%3A1": 2,
                        "%2Frun%2Fdb.sock": 1,
                    },
                    "source,service": {
                        ",*": 3,
                        ",a%2Cb%25": 1,
                        ",%2A": 1,
                        **dict.fromkeys((f"sessions.json,{name}" for name in DOCUMENTED), 1),
                    },
                }[names]
            )

    asyncio.run(test())


ALLOWED = "service, source, user, application, database, remote, state, activity"
NOT_BY = "nothing can be counted by"


@pytest.mark.parametrize(
    ("query", "parameter", "detail"),
    [
        ("", "by", f"by must name one to 3 of {ALLOWED}, with commas between"),
        ("by=", "by", "'' has an empty name; write names as in a,b"),
        (
            "by=aplication",
            "by",
            f"{NOT_BY} 'aplication'; did you mean 'application'?",
        ),
        ("by=zebra", "by", f"nothing can be counted by 'zebra'; allowed are {ALLOWED}"),
        ("by=user,state,user", "by", "'user' is listed more than once"),
        ("by=user,state,remote,source", "by", "at most 3 names are allowed, got 4"),
        ("by=user&by=state", "by", "'by' is given more than once"),
        ("by=user&sort=user", "sort", None),
        ("by=user&page[after]=1", "page[after]", None),
        ("by=user&page[number]=1", "page[number]", None),
        ("by=user&filter[attributes.usr]=1", "filter[attributes.usr]", None),
    ],
)
def test_a_bad_request_names_what_is_allowed(
    http: httpx.Client, query: str, parameter: str, detail: str | None
) -> None:
    answer = http.get(f"{COUNTS}?{query}")
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["source"] == {"parameter": parameter}
    assert detail is None or error["detail"] == detail
