"""Lists of sessions of the past over REST, from a real core, against what it answers over gRPC."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.client import Client
from sessiongate.v1.history_service_pb2 import PastSession, PastSessionFilter
from tests.gateway.programs import LONG, client_of, running_core, running_gateway
from tests.polling import eventually

LIST = "/v1/history/sessions"
LATER = "later"  # than any time
ORDERS = ("connected", "-connected", "ended", "-ended")


@pytest.fixture(scope="module")
def core() -> Iterator[str]:
    """Run a core whose sessions come and go."""
    with running_core("synthetic:?sessions=300&churn=30&interval=0.2") as address:
        yield address


@pytest.fixture(scope="module")
def asked(core: str) -> Iterator[Client]:
    """Ask that core once many sessions have ended."""
    with Client(core, timeout=LONG) as client:
        eventually(lambda: len([*client.past_sessions()]), lambda count: count > 400)
        yield client


@pytest.fixture(scope="module")
def http(core: str, asked: Client) -> Iterator[httpx.Client]:
    with running_gateway(core) as gateway, client_of(gateway) as client:
        yield client


def instant(seconds: float) -> str:
    """Return a time as a parameter, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def stamp(text: str) -> Timestamp:
    found = Timestamp()
    found.FromJsonString(text)
    return found


def shown(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["data"]]


def pages(http: httpx.Client, **parameters: str) -> Iterator[Any]:
    """Yield the documents of all pages."""
    answer = http.get(LIST, params=parameters)
    while True:
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        document = answer.json()
        yield document
        following = document["links"]["next"]
        if following is None:
            return
        answer = http.get(following.removeprefix("http://localhost:8989"))


def listed(http: httpx.Client, **parameters: str) -> list[Any]:
    """Return the resources of all pages."""
    return [one for document in pages(http, **parameters) for one in document["data"]]


def known(client: Client, wanted: PastSessionFilter) -> dict[str, PastSession]:
    return {str(past.session.id): past for past in client.past_sessions(wanted)}


@pytest.mark.long
def test_a_moment_shows_who_was_connected(http: httpx.Client, asked: Client) -> None:
    # Its source states earlier starts than it shows sessions at: some are still added.
    moment = instant(time.time() - 1.5)
    before = known(asked, PastSessionFilter(at_time=stamp(moment)))
    found = {one["id"]: one for one in listed(http, at=moment, **{"page[size]": "1000"})}
    after = known(asked, PastSessionFilter(at_time=stamp(moment)))
    assert before.keys() <= found.keys() <= after.keys()
    assert len(found) >= 300
    for ident, one in found.items():
        assert one["links"] == {"self": f"http://localhost:8989{LIST}/{ident}"}
        assert not one["attributes"].keys() & {"idle", "activity", "queries"}
        if "ended" in one["attributes"]:
            assert one["attributes"]["end_reason"] == "closed"
            assert one["attributes"]["ended"] > moment[:23]
    assert any("ended" not in one["attributes"] for one in found.values())


def test_an_interval_shows_who_was_connected_in_it(http: httpx.Client, asked: Client) -> None:
    def interval() -> tuple[str, str]:
        now = time.time()
        return instant(now - 2), instant(now - 1)

    def of(start: str, end: str) -> dict[str, PastSession]:
        return known(asked, PastSessionFilter(start_time=stamp(start), end_time=stamp(end)))

    # No session comes or goes while the core gets no CPU.
    start, end = eventually(interval, lambda found: len(of(*found)) > 300)
    before = of(start, end)
    found = {one["id"] for one in listed(http, **{"from": start, "to": end})}
    assert before.keys() <= found <= of(start, end).keys()
    assert len(found) > 300
    everything = {one["id"] for one in listed(http, to=end, **{"page[size]": "10000"})}
    assert everything > found


def core_goes_on(client: Client) -> None:
    """Wait until enough sessions have just ended: none do while the core gets no CPU."""

    def ended() -> int:
        wanted = PastSessionFilter(start_time=stamp(instant(time.time() - 5)))
        return sum(past.HasField("end_time") for past in client.past_sessions(wanted))

    eventually(ended, lambda count: count > 20)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("filters", [{}, {"filter[attributes.port]": "ge(0)"}])
def test_pages_are_the_whole_in_order_while_sessions_come_and_go(
    http: httpx.Client, asked: Client, order: str, filters: dict[str, str]
) -> None:
    # The core orders by the start, or leaves a filter to the gateway, which cuts its pages.
    core_goes_on(asked)
    before = instant(time.time())[:23]
    documents = [*pages(http, sort=order, **filters, **{"from": "-6s", "page[size]": "37"})]
    assert all(len(document["data"]) <= 37 for document in documents)
    starts = {document["links"]["self"].partition("?")[2].partition("&page")[0]
              for document in documents}  # fmt: skip
    assert len(starts) == 1, "each page is about the same time"
    assert not any("prev" in document["links"] for document in documents)
    found = [one for document in documents for one in document["data"]]
    assert len({one["id"] for one in found}) == len(found) > 300
    backwards = order.startswith("-")
    if order.endswith("connected"):
        idents = [int(one["id"]) for one in found]  # in whose order these sessions connected
        assert idents == sorted(idents, reverse=backwards)
        return
    idents = [int(one["id"]) for one in found if "ended" not in one["attributes"]]
    assert idents == sorted(idents, reverse=backwards)
    # What ended since the first page is in the order as if it had not.
    ends = [one["attributes"].get("ended", LATER) for one in found]
    ends = [LATER if end > before else end for end in ends]
    past = [end for end in ends if end != LATER]
    assert past == sorted(past, reverse=backwards)
    assert len(past) > 20
    assert len(ends) - len(past) > 200
    assert ends[0 if backwards else -1] == LATER
