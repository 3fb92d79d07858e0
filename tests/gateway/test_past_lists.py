"""Lists of the past over REST: filters, gaps, ends; and the requests that are refused."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from sessiongate.client import Client
from sessiongate.gateway.limits import Limits
from tests.gateway.programs import LONG, client_of, running_core, running_gateway
from tests.polling import eventually

LIST = "/v1/history/sessions"
CONNECTED = time.asctime(time.gmtime())


def show(file: Path, *idents: int) -> None:
    """Make these the sessions of a document: each with its user, all on ``orders`` or ``cli``."""
    data = [
        {
            "id": str(ident),
            "type": "sessions",
            "attributes": {
                "state": "Session started",
                "connected": CONNECTED,
                "user": f"user{ident}",
                "remote": f"192.0.2.{ident}",
            },
            "relationships": {
                "services": {"data": [{"id": ("cli", "orders")[ident % 2], "type": "services"}]}
            },
        }
        for ident in idents
    ]
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps({"data": data}))
    os.replace(beside, file)


@contextmanager
def served(file: Path, **settings: Any) -> Iterator[httpx.Client]:
    """Run a core that reads a document, and a gateway; yield the gateway's client."""
    with (
        running_core(f"document:{file}?name=shop&interval=0.1", **settings) as core,
        running_gateway(core) as gateway,
        client_of(gateway) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a core that remembers that 1, 2 and 3 ended, in this order."""
    file = tmp_path_factory.mktemp("past") / "sessions.json"
    show(file, 1, 2, 3, 4, 5, 6)
    with (
        running_core(f"document:{file}?name=shop&interval=0.1") as address,
        Client(address, timeout=LONG) as client,
    ):
        for ended in (1, 2, 3):
            show(file, *range(ended + 1, 7))
            eventually(partial(has_ended, client, ended))
        yield address


def has_ended(client: Client, ident: int) -> bool:
    return client.get_past_session(ident).HasField("end_time")


@pytest.fixture(scope="module")
def http(core: str) -> Iterator[httpx.Client]:
    with running_gateway(core) as gateway, client_of(gateway) as client:
        yield client


def resources(http: httpx.Client, **parameters: str) -> list[Any]:
    """Return the resources of all pages, of which there may be several if the machine is busy."""
    found: list[Any] = []
    path: str | None = f"{LIST}?{urlencode(parameters)}"
    while path is not None:
        answer = http.get(path)
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        following = answer.json()["links"]["next"]
        path = following and following.removeprefix("http://localhost:8989")
    return found


def ids(http: httpx.Client, **parameters: str) -> list[str]:
    return [one["id"] for one in resources(http, **parameters)]


def ends(http: httpx.Client) -> dict[str, str | None]:
    return {one["id"]: one["attributes"].get("ended") for one in resources(http)}


def reasons(http: httpx.Client, **parameters: str) -> list[str]:
    return [gap["reason"] for gap in gaps(http, **parameters)]


def gaps(http: httpx.Client, **parameters: str) -> list[Any]:
    return list(http.get(LIST, params=parameters).json()["meta"]["gaps"])


@pytest.mark.parametrize(
    ("order", "expected", "size"),
    [
        ("connected", "123456", 1),
        ("-connected", "654321", 2),
        ("ended", "123456", 2),
        ("-ended", "654321", 3),
    ],
)
@pytest.mark.parametrize(
    ("filters", "passing"),
    [
        ({}, "123456"),
        ({"filter": '/relationships/services/data/0/id="orders"'}, "135"),
        ({"filter[attributes.user]": 'or("user2","user5","nobody")'}, "25"),
        ({"filter[attributes.state]": 'eq("Session started")'}, "123456"),
        ({"filter[attributes.remote]": 'or("192.0.2.3","192.0.2.6")'}, "36"),
        ({"filter[attributes.remote]": 'or("192.0.2.3","not an address")'}, "3"),
        ({"filter[attributes.user]": 'ge("user3")'}, "3456"),
        ({"filter": "id=and(gt(1),lt(5))"}, "234"),
        ({"filter": 'id=or("2","5","7","x")'}, "25"),
        ({"filter[attributes.end_reason]": '"closed"'}, "123"),
        ({"filter[attributes.end_reason]": 'ne("terminated")'}, "123"),
        ({"filter[attributes.end_reason]": '"terminated"'}, ""),
        ({"filter[attributes.ended]": 'ge("2020-01-01T00:00:00Z")'}, "123"),
        ({"filter[attributes.source]": '"shop"'}, ""),  # which only native ids make shown
        ({"filter": 'id="3"', "filter[attributes.user]": '"user4"'}, ""),
    ],
)
def test_filters_select_in_every_order_and_over_all_pages(
    http: httpx.Client,
    filters: dict[str, str],
    passing: str,
    order: str,
    expected: str,
    size: int,
) -> None:
    found = ids(http, **filters, sort=order, **{"page[size]": f"{size}"})
    assert "".join(found) == "".join(ident for ident in expected if ident in passing)


def test_a_session_is_in_the_list_from_its_start_to_its_end(http: httpx.Client) -> None:
    known = ends(http)
    first, second, third = (known[ident] for ident in "123")
    assert ids(http, at="-0s") == ["4", "5", "6"]
    assert ids(http, at="1999-01-01T00:00:00Z") == []
    assert ids(http, **{"to": "1999-01-01T00:00:00Z"}) == []
    assert ids(http, **{"from": "-0s"}) == ["4", "5", "6"]
    assert ids(http, **{"from": "-1d", "to": "-0s"}) == [*"123456"]
    # `ended` is cut to the millisecond: a millisecond later, it was over.
    assert ids(http, at=later(first)) == [*"23456"]
    assert ids(http, **{"from": later(second)}) == [*"3456"]
    assert ids(http, **{"from": later(third), "to": "-0s"}) == [*"456"]
    assert ids(http, at=later(second), filter='id=or("2","3","4")') == [*"34"]
    assert ids(http, **{"from": later(second), "filter": 'id=or("2","3","4")'}) == [*"34"]
    assert ids(http, **{"to": "1999-01-01T00:00:00Z", "filter": 'id="4"'}) == []


def later(text: str | None) -> str:
    """Return a time a millisecond later, in another zone."""
    assert text is not None
    whole, _, rest = text.removesuffix("Z").partition(".")
    return f"{whole}.{rest}999+00:00"


def test_links_have_relative_times_absolute(http: httpx.Client) -> None:
    links = http.get(LIST, params={"at": "-90m", "page[size]": "1", "pretty": "true"}).json()[
        "links"
    ]
    for name in ("self", "first"):
        url = httpx.URL(links[name])
        moment = url.params["at"]
        assert moment.startswith("20")
        assert url.params["pretty"] == "true"
        again = http.get(LIST, params={"at": moment, "page[size]": "1"}).json()
        assert httpx.URL(again["links"]["self"]).params["at"] == moment
    assert "prev" not in links
    both = http.get(LIST, params={"from": "-1h", "to": "-0s"}).json()["links"]["self"]
    assert all(httpx.URL(both).params[name].endswith("Z") for name in ("from", "to"))
    assert http.get(LIST).json()["links"]["self"] == f"http://localhost:8989{LIST}/"


def test_a_head_is_the_same_without_the_document(http: httpx.Client) -> None:
    path = f"{LIST}?at=2026-01-01T00:00:00Z"
    got, head = http.get(path), http.head(path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length", "cache-control", "vary"):
        assert head.headers[name] == got.headers[name]
    assert got.headers["cache-control"] == "no-store"
    assert not {"etag", "last-modified"} & got.headers.keys()
    assert http.head(f"{LIST}?at=no").status_code == 400


def test_fields_and_formats_are_those_of_other_lists(http: httpx.Client) -> None:
    [one] = resources(http, filter='id="1"', **{"fields[sessions]": "ended,user"})
    assert one.keys() == {"id", "type", "attributes", "links"}
    assert one["attributes"].keys() == {"ended", "user"}
    answer = http.get(LIST, headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    # Pages by cursor go one way here, which the profile does not foresee.
    profile = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination/"
    answer = http.get(LIST, headers={"Accept": f'application/vnd.api+json;profile="{profile}"'})
    assert answer.headers["content-type"] == "application/vnd.api+json"


def test_a_clock_that_is_a_little_ahead_asks_about_now(http: httpx.Client) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for query in ({"at": soon}, {"from": soon}, {"to": later}):
        answer = http.get("/v1/history/sessions", params=query)
        assert answer.status_code == 200, answer.text


MOMENT = "must be a date and time with its offset, such as 2026-11-26T14:05:00Z, or how long ago"
CURSOR = "page[after] must be from a link of a list with the same times, filters and sort"


@pytest.mark.parametrize(
    ("query", "parameter", "detail"),
    [
        ("at=", "at", f"at {MOMENT}"),
        ("at=now", "at", f"at {MOMENT}"),
        ("at=NaN", "at", f"at {MOMENT}"),
        ("at=14:05", "at", f"at {MOMENT}"),
        ("from=10000-01-01T00:00:00Z", "from", f"from {MOMENT}"),
        ("at=2199-01-01T00:00:00Z", "at", "at must not be in the future, got 2199-01-01T00:00:00Z"),
        ("from=2199-01-01T00:00:00Z", "from", "from must not be in the future, got 2199-01-01T"),
        ("to=-999999999d", "to", f"to {MOMENT}"),
        ("to=-99999999999999999999s", "to", f"to {MOMENT}"),
        ("at=%00", "at", f"at {MOMENT}"),
        ("at=2026-11-26T15:05:00+01:00", "at", "; in a URL, write %2B for '+'"),
        ("at=2262-01-01T00:00:00Z", "at", "at must be a time of the years 1678 to 2261"),
        ("from=-200000d", "from", "from must be a time of the years 1678 to 2261"),
        ("at=-1h&at=-1h", "at", "'at' is given more than once"),
        ("at=-1h&from=-1h", "at", "at excludes from; ask about a moment, or from one to another"),
        ("at=-1h&from=-2h&to=-1h", "at", "at excludes from and to"),
        ("from=-1h&to=-1h", "to", "to must be after from, 20"),
        ("from=-1h&to=-2h", "to", "to must be after from, 20"),
        ("until=-1h", "until", "unknown parameter 'until'"),
        ("page[number]=0&page[size]=1", "page[number]", "allowed are page[size], page[after]"),
        ("page[before]=1", "page[before]", "allowed are page[size], page[after]"),
        ("page[size]=0", "page[size]", "page[size] must be an integer of at least 1, got '0'"),
        ("page[size]=10001", "page[size]", "page[size] must be at most 10000, got 10001"),
        ("page[after]=", "page[after]", CURSOR),
        ("page[after]=1", "page[after]", CURSOR),
        ("page[after]=%C3%A9%00", "page[after]", CURSOR),
        (f"page[after]={'A' * 2000}", "page[after]", CURSOR),
        ("sort=", "sort", "sort must be one of connected, -connected, ended, -ended, got ''"),
        (
            "sort=user",
            "sort",
            "sort must be one of connected, -connected, ended, -ended, got 'user'",
        ),
        ("sort=ended,connected", "sort", "sort must be one of connected, -connected, ended"),
        ("filter[attributes.idle]=gt(1)", "filter[attributes.idle]", "there is no attribute"),
        ("filter[attributes.activity.state]=1", "filter[attributes.activity.state]", "there is no"),
        (
            "filter[attributes.endet]=1",
            "filter[attributes.endet]",
            "did you mean 'attributes.ended'",
        ),
        ("fields[sessions]=activity", "fields[sessions]", "there is no attribute or relationship"),
        ("include=upstream", "include", "unknown parameter 'include'"),
        ("min_idle=1", "min_idle", "unknown parameter 'min_idle'"),
        *(
            (f"filter[{name}]=1", f"filter[{name}]", "there is no")
            for name in (
                "attributes.connections",
                "attributes.memory.total",
                "attributes.io_activity",
                "attributes.thread",
                "attributes.client.connection_attributes",
                "relationships.filters",
            )
        ),
    ],
)
def test_a_bad_request_names_what_is_allowed(
    http: httpx.Client, query: str, parameter: str, detail: str
) -> None:
    answer = http.get(f"{LIST}?{query}")
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["source"] == {"parameter": parameter}
    assert detail in error["detail"]
    assert answer.headers["cache-control"] == "no-store"


def test_each_wrong_time_is_an_error(http: httpx.Client) -> None:
    errors = http.get(f"{LIST}?from=a&to=b").json()["errors"]
    assert [error["source"]["parameter"] for error in errors] == ["from", "to"]


@pytest.mark.parametrize(
    "other",
    [
        {"sort": "ended"},
        {"filter[attributes.user]": '"user1"'},
        {"from": "-1h"},
        {"to": "2026-01-01T00:00:01Z"},
        {"at": "-0s"},
    ],
)
def test_a_cursor_belongs_to_one_list(http: httpx.Client, other: dict[str, str]) -> None:
    following = http.get(f"{LIST}?page[size]=1").json()["links"]["next"]
    after = httpx.URL(following).params["page[after]"]
    rest = ids(http, **{"page[after]": after, "page[size]": "2", "pretty": "true"})
    assert rest == [*"23456"]
    answer = http.get(LIST, params={**other, "page[after]": after})
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["source"] == {"parameter": "page[after]"}
    for forged in (after[:-1], after + "A", after[:32] + "A" * 40):
        answer = http.get(LIST, params={"page[after]": forged, "page[size]": "1"})
        assert answer.status_code == 400, forged
        assert CURSOR in answer.json()["errors"][0]["detail"]


def test_a_page_without_a_size_is_as_long_as_allowed(core: str) -> None:
    with running_gateway(core, limits=Limits(max_page=2)) as gateway, client_of(gateway) as http:
        answer = http.get(LIST).json()
        assert [one["id"] for one in answer["data"]] == ["1", "2"]
        assert answer["links"]["next"]
        assert ids(http) == [*"123456"]


def test_gaps_and_ends_are_told_over_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "sessions.json"
    show(file, 1, 2)
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    with served(file, ledger=ledger) as http:
        eventually(lambda: gaps(http, at="-0s"), lambda found: not found)
        [before] = gaps(http, to="-0s")
        assert (before["source"], before["reason"]) == ("shop", "before_history")
        assert "from" not in before
        assert before["to"].endswith("Z")
    show(file, 2)
    with served(file, ledger=ledger) as http:
        [gone] = [one for one in resources(http) if one["id"] == "1"]
        attributes = gone["attributes"]
        assert attributes["end_reason"] == "not_seen"
        assert attributes["end_from"] <= attributes["end_to"] == attributes["ended"]
        interval = {"from": attributes["end_from"], "to": attributes["end_to"]}
        assert "core_down" in reasons(http, **interval)
        assert ids(http, filter='id=or("1","2")') == ["1", "2"]
        file.unlink()
        eventually(
            lambda: http.get("/v1/sources/shop").json()["data"]["attributes"].get("last_error")
        )
        assert reasons(http, at="-0s") == ["unreachable"]
        assert ids(http, at="-0s") == ["2"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"history": "off"}, "retention"), ({"history_min": 3600}, "below_minimum")],
)
def test_what_is_not_kept_is_a_gap(tmp_path: Path, settings: dict[str, Any], reason: str) -> None:
    file = tmp_path / "sessions.json"
    show(file, 1, 2)
    with served(file, **settings) as http:
        show(file, 2)
        eventually(lambda: ids(http), lambda found: found == ["2"])
        eventually(lambda: reasons(http, at="-0s"), lambda found: found == [reason])


def test_a_ledger_that_cannot_be_read_is_503(tmp_path: Path) -> None:
    file, ledger = tmp_path / "sessions.json", tmp_path / "ledger.db"
    show(file, 1)
    with served(file, ledger=f"sqlite:///{ledger}") as http:
        assert ids(http) == ["1"]
        rename(ledger, "open_sessions", "elsewhere")
        answer = http.get(LIST)
        rename(ledger, "elsewhere", "open_sessions")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert [error["code"] for error in answer.json()["errors"]] == ["LEDGER_UNAVAILABLE"]
        assert http.get("/v1/sessions/1").status_code == 200
        eventually(lambda: http.get(LIST).status_code, lambda status: status == 200)


def rename(ledger: Path, table: str, name: str) -> None:
    with closing(sqlite3.connect(ledger, timeout=20)) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME TO {name}")
