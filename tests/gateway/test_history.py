"""Sessions of the past over REST, from a real core, against what it answers over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from sessiongate.client import Client
from sessiongate.v1.history_service_pb2 import PastSession
from tests.gateway.programs import LONG, client_of, running_core, running_gateway
from tests.polling import eventually


@pytest.fixture(scope="module")
def core() -> Iterator[str]:
    with running_core("synthetic:?sessions=20&churn=20&interval=0.2") as address:
        yield address


@pytest.fixture(scope="module")
def http(core: str) -> Iterator[httpx.Client]:
    with running_gateway(core) as gateway, client_of(gateway) as client:
        yield client


@pytest.fixture(scope="module")
def ended(core: str) -> PastSession:
    """Return a session that has ended."""
    with Client(core, timeout=LONG) as client:

        def those() -> list[PastSession]:
            return [past for past in client.past_sessions() if past.HasField("end_time")]

        return eventually(those, bool)[0]


def test_a_session_that_has_ended_is_in_history(http: httpx.Client, ended: PastSession) -> None:
    path = f"/v1/history/sessions/{ended.session.id}"
    answer = http.get(path)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert "last-modified" not in answer.headers
    document = answer.json()
    data = document["data"]
    link = {"self": f"http://localhost:8989{path}"}
    assert document["links"] == data["links"] == link
    assert (data["type"], data["id"]) == ("sessions", str(ended.session.id))
    attributes = data["attributes"]
    assert attributes["user"] == ended.session.user
    assert attributes["ended"].endswith("Z")
    assert attributes["end_reason"] == "closed"
    assert not attributes.keys() & {"idle", "activity", "queries", "end_from", "ended_by"}
    fields = http.get(f"{path}?fields[sessions]=ended").json()["data"]
    assert fields["attributes"] == {"ended": attributes["ended"]}
    misspelt = http.get(f"{path}?fields[sessions]=endet")
    assert misspelt.status_code == 400
    assert "did you mean 'ended'?" in misspelt.json()["errors"][0]["detail"]


def test_the_longest_transaction_is_in_seconds(core: str, http: httpx.Client) -> None:
    def those(client: Client) -> list[PastSession]:
        found = [past for past in client.past_sessions() if past.HasField("longest_transaction")]
        return [past for past in found if past.HasField("end_time")]

    with Client(core, timeout=LONG) as client:
        past = eventually(lambda: those(client), bool)[0]
    shown = http.get(f"/v1/history/sessions/{past.session.id}").json()["data"]["attributes"]
    assert shown["longest_transaction"] == past.longest_transaction.ToMilliseconds() / 1000 > 0


def test_the_404_of_a_session_that_has_ended_links_to_its_history(
    http: httpx.Client, ended: PastSession
) -> None:
    answer = http.get(f"/v1/sessions/{ended.session.id}")
    assert answer.status_code == 404
    [error] = answer.json()["errors"]
    assert error["code"] == "SESSION_NOT_FOUND"
    path = f"/v1/history/sessions/{ended.session.id}"
    assert error["links"] == {"about": f"http://localhost:8989{path}"}
    assert http.get(path).status_code == 200


@pytest.mark.parametrize("ident", ["0", "none", "18446744073709551615"])
def test_an_id_that_history_does_not_know_is_an_error(http: httpx.Client, ident: str) -> None:
    answer = http.get(f"/v1/history/sessions/{ident}")
    assert answer.status_code == 404
    [error] = answer.json()["errors"]
    assert error["code"] == "SESSION_NOT_FOUND"
    assert "links" not in error
