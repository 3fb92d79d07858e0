"""Sources over REST: where sessions are read from, and how the reading goes."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.programs import DATA, LONG, client_of, running_core, running_gateway
from tests.program import PATIENCE

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    nowhere = tmp_path_factory.mktemp("sources") / "nowhere.json"
    sources = (f"document:{DATA / 'sessions.json'}?name=a%2Fb", f"document:{nowhere}?name=gone")
    with (
        running_core(*sources) as core,
        running_gateway(core) as gateway,
        client_of(gateway) as client,
    ):
        yield client


def test_all_sources_say_how_they_are(http: httpx.Client) -> None:
    answer = http.get("/v1/sources")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert document["links"] == {"self": "http://localhost:8989/v1/sources/"}
    good, bad = document["data"]
    assert good["id"] == "a/b"
    assert good["type"] == "sources"
    assert good["links"] == {"self": "http://localhost:8989/v1/sources/a%2Fb"}
    attributes = good["attributes"]
    assert MOMENT.fullmatch(attributes.pop("last_success"))
    assert 0 < attributes.pop("observation_time") < LONG
    assert attributes == {
        "kind": "document",
        "state": "reachable",
        "sessions": 3,
        "truncated": False,
        "partial": "",
        "unreadable": {"sessions": 0, "members": 0, "example": ""},
    }
    attributes = bad["attributes"]
    assert bad["id"] == "gone"
    assert MOMENT.fullmatch(attributes.pop("last_error_time"))
    assert "nowhere.json" in attributes.pop("last_error")
    assert attributes == {
        "kind": "document",
        "state": "unreachable",
        "sessions": 0,
        "truncated": False,
        "partial": "",
        "unreadable": {"sessions": 0, "members": 0, "example": ""},
    }


def test_one_source_has_its_url(http: httpx.Client) -> None:
    good = http.get("/v1/sources").json()["data"][0]
    answer = http.get("/v1/sources/a%2Fb", params={"fields[sources]": "kind,sessions"})
    document = answer.json()
    assert document["links"]["self"].startswith("http://localhost:8989/v1/sources/a%2Fb?")
    assert document["data"]["links"] == good["links"]
    assert document["data"]["attributes"] == {"kind": "document", "sessions": 3}
    missing = http.get("/v1/sources/nobody")
    assert missing.status_code == 404
    assert missing.json()["errors"][0]["code"] == "SOURCE_NOT_FOUND"


@pytest.mark.parametrize(
    ("parameters", "idents"),
    [
        ({"filter": '/attributes/state="unreachable"'}, ["gone"]),
        ({"sort": "sessions"}, ["gone", "a/b"]),
        ({"page[size]": "1", "page[number]": "1"}, ["gone"]),
    ],
)
def test_sources_are_a_collection_like_any_other(
    http: httpx.Client, parameters: dict[str, str], idents: list[str]
) -> None:
    data = http.get("/v1/sources", params=parameters).json()["data"]
    assert [source["id"] for source in data] == idents


def test_the_root_leads_to_them(http: httpx.Client) -> None:
    assert http.get("/v1/").json()["links"]["sources"] == "http://localhost:8989/v1/sources/"


def test_they_answer_while_the_core_is_not_ready(tmp_path: Path) -> None:
    # Nothing accepts here: neither an answer nor a failure, for as long as the test runs.
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://ann:treasure@127.0.0.1:{port}/x?name=slow&timeout={PATIENCE}"
        with (
            running_core(url, ready=False) as core,
            running_gateway(core) as gateway,
            client_of(gateway) as client,
        ):
            assert client.get("/v1/sessions").status_code == 503
            answer = client.get("/v1/sources")
            [source] = answer.json()["data"]
            assert source["attributes"] == {
                "kind": "postgresql",
                "state": "pending",
                "sessions": 0,
                "truncated": False,
                "partial": "",
                "unreadable": {"sessions": 0, "members": 0, "example": ""},
            }
            assert "treasure" not in answer.text
