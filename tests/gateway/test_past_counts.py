"""Counts over time over REST, from a real core, against its lists at the same moments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.gateway.programs import client_of, running_core, running_gateway

PATH = "/v1/history/counts"


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with (
        running_core("synthetic:?sessions=40&churn=0") as core,
        running_gateway(core) as gateway,
        client_of(gateway) as client,
    ):
        yield client


def counted(http: httpx.Client, **query: str) -> dict[str, Any]:
    answer = http.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def listed(http: httpx.Client, time: str, name: str, **query: str) -> Counter[str | None]:
    answer = http.get("/v1/history/sessions", params={"at": time, "page[size]": "1000", **query})
    assert answer.status_code == 200, answer.text
    found: Counter[str | None] = Counter()
    for resource in answer.json()["data"]:
        services = resource["relationships"].get("services", {"data": [{"id": None}]})["data"]
        found[services[0]["id"] if name == "service" else resource["attributes"][name]] += 1
    return found


def test_all_sessions_are_counted_at_each_moment(http: httpx.Client) -> None:
    document = counted(http, **{"from": "-100d", "moments": "5"})
    [resource] = document["data"]
    assert (resource["id"], resource["type"]) == ("*all", "counts")
    times = document["meta"]["times"]
    assert len(times) == 5
    lists = [sum(listed(http, time, "user").values()) for time in times]
    assert resource["attributes"] == {"counts": lists}
    assert lists[-1] == 40
    assert {gap["reason"] for gap in document["meta"]["gaps"]} == {"before_history"}


@pytest.mark.parametrize("by", ["service", "user"])
def test_the_largest_groups_come_first_and_the_others_together(http: httpx.Client, by: str) -> None:
    query = {"from": "-100d", "moments": "4", "by": by, "page[size]": "2"}
    document = counted(http, **query)
    lists = [listed(http, time, by) for time in document["meta"]["times"]]
    totals = sum(lists, Counter[str | None]())
    largest = sorted(totals, key=lambda value: (-totals[value], value or ""))
    shown = document["data"]
    assert [one["id"] for one in shown] == [*largest[:2], *(["*other"] if largest[2:] else [])]
    for one, value in zip(shown[:2], largest, strict=False):
        assert one["attributes"] == {by: value, "counts": [found[value] for found in lists]}
    rest = [sum(found[value] for value in largest[2:]) for found in lists]
    assert [one["attributes"] for one in shown[2:]] == ([{"counts": rest}] if largest[2:] else [])


def test_filters_select_what_is_counted(http: httpx.Client) -> None:
    [first] = http.get("/v1/sessions", params={"page[size]": "1"}).json()["data"]
    user = first["attributes"]["user"]
    some = {"filter": f'/attributes/user="{user}"'}
    document = counted(http, **{"from": "-100d", "moments": "3", **some})
    lists = [sum(listed(http, time, "user", **some).values()) for time in document["meta"]["times"]]
    assert document["data"][0]["attributes"]["counts"] == lists
    assert 0 < lists[-1] < 40
    remote = {"filter": '/attributes/remote=or("10.0.0.1","10.0.0.2")'}
    assert counted(http, **remote)["data"][0]["attributes"]["counts"][-1] == 0


def test_times_are_resolved_once(http: httpx.Client) -> None:
    before = datetime.now(UTC)
    document = counted(http)
    times = [datetime.fromisoformat(time) for time in document["meta"]["times"]]
    assert len(times) == 60
    assert abs(times[-1] - times[0] - timedelta(hours=1)) < timedelta(seconds=0.01)
    assert abs(times[-1] - before) < timedelta(minutes=5)
    absolute = counted(http, **{"from": "-2h", "to": "-1h", "by": "service"})
    link = httpx.URL(absolute["links"]["self"])
    assert datetime.fromisoformat(link.params["from"]) < datetime.fromisoformat(link.params["to"])
    assert link.params["by"] == "service"
    again = http.get(link.raw_path.decode())
    assert again.json() == absolute
    assert again.headers["cache-control"] == "no-store"


def test_the_future_counts_as_now(http: httpx.Client) -> None:
    now = datetime.now(UTC)
    for query in ({"to": "2099-01-01T00:00:00Z"}, {"from": "-10m", "to": "2099-01-01T00:00:00Z"}):
        times = counted(http, **query)["meta"]["times"]
        assert abs(datetime.fromisoformat(times[-1]) - now) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("query", "parameter", "text"),
    [
        ({"moments": "1"}, "moments", "moments must be an integer from 2 to 500, got '1'"),
        ({"moments": "9" * 30}, "moments", "must be an integer from 2 to 500"),
        ({"moments": "1e2"}, "moments", "must be an integer from 2 to 500, got '1e2'"),
        ({"page[size]": "0"}, "page[size]", "page[size] must be an integer from 1 to 100"),
        ({"by": "usr"}, "by", "the past cannot be counted by 'usr'; did you mean 'user'?"),
        ({"by": "state"}, "by", "allowed are service, source, user, application, database"),
        ({"by": ""}, "by", "allowed are service"),
        ({"at": "-1h"}, "at", "at"),
        ({"from": "now"}, "from", "from must be a date and time with its offset"),
        ({"from": "-1h", "to": "-2h"}, "to", "to must be after from"),
        ({"from": "-1h", "to": "-1h"}, "to", "to must be after from"),
        ({"filter": "/attributes/ended=ge(1)"}, "filter", "the past is counted by the core, which"),
        ({"filter": '/attributes/remote="a"'}, "filter", "the past is counted by the core, which"),
        ({"sort": "user"}, "sort", "sort"),
        ({"page[number]": "1"}, "page[number]", "page[number]"),
    ],
)
def test_what_is_wrong_is_named(
    http: httpx.Client, query: dict[str, str], parameter: str, text: str
) -> None:
    answer = http.get(PATH, params=query)
    assert answer.status_code == 400, answer.text
    [error] = answer.json()["errors"]
    assert error["source"] == {"parameter": parameter}
    assert text in error["detail"]


def test_moments_that_are_all_in_the_future_are_an_error(http: httpx.Client) -> None:
    answer = http.get(PATH, params={"from": "2199-01-01T00:00:00Z"})
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["detail"] == "from must not be in the future, got 2199-01-01T00:00:00Z"
