"""A source that can be read only in part, through the real programs: where that is reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    ListSessionsRequest,
    WatchSessionsRequest,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.gateway.reading import reading
from tests.program import DATA, PATIENCE, Forked, Serving, channel, run

REFERENCE: list[dict[str, Any]] = json.loads((DATA / "sessions.json").read_text())["data"]


def document(*resources: object) -> str:
    return json.dumps({"data": resources})


def with_id(ident: object, index: int = 0) -> dict[str, Any]:
    return {**REFERENCE[index], "id": ident}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd") / "odd.json"
    odd = {**REFERENCE[1], "id": "57"}
    odd["attributes"] = {**odd["attributes"], "port": "SECRET"}
    path.write_text(document(with_id("21"), odd, with_id(5), with_id("999", 2)))
    return path


@pytest.fixture(scope="module", params=["replica", "direct"])
def program(path: Path, request: pytest.FixtureRequest) -> Iterator[Serving]:
    replica = "on" if request.param == "replica" else "off"
    sources = ("--source", f"document:{path}", "--source", f"document:{DATA}/session_1.json")
    with Forked(*sources, "--replica", replica, "--core-metrics", "127.0.0.1:0") as serving:
        yield serving


@pytest.fixture
def http(program: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"http://{program.http}", timeout=PATIENCE, trust_env=False
    ) as client:
        yield client


def test_the_others_are_shown_with_the_ids_of_the_file(http: httpx.Client) -> None:
    data = http.get("/v1/sessions").json()["data"]
    assert [item["id"] for item in data] == ["1", "21", "57", "999"]
    assert not any("native_id" in item["attributes"] for item in data)
    assert "port" not in data[2]["attributes"]


@pytest.mark.parametrize(
    "url",
    [
        "/v1/sessions",
        "/v1/sessions?pretty=true",
        "/v1/sessions?page[size]=1",
        '/v1/sessions?filter=/attributes/state="Listener Session"',
        "/v1/sessions?sort=connected",
        "/v1/sessions/21",
        "/v1/sessions/21?include=services",
        "/v1/sessions/21/services",
        "/v1/sessions/21/relationships/services",
        "/v1/services",
        "/v1/services/CLI",
        "/v1/services/CLI/sessions",
    ],
)
def test_every_answer_about_sessions_names_the_source(http: httpx.Client, url: str) -> None:
    url = url.replace('"', "%22")
    answer = http.get(url)
    assert answer.status_code == 200
    assert answer.json()["meta"]["partial"] == ["odd.json"]
    assert "unreachable" not in answer.json()["meta"]
    again = http.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_the_source_says_why(http: httpx.Client) -> None:
    odd, other = (source["attributes"] for source in http.get("/v1/sources").json()["data"])
    assert odd["state"] == other["state"] == "reachable"
    assert odd["partial"] == "some sessions could not be read"
    assert odd["unreadable"] == {
        "sessions": 1,
        "members": 1,
        "example": "/data/2/id: expected a string, found a number",
    }
    assert other["partial"] == ""
    assert other["unreadable"] == {"sessions": 0, "members": 0, "example": ""}


def test_grpc_names_it_too(program: Serving) -> None:
    with channel(program.grpc) as opened:
        stub = SessionServiceStub(opened)
        assert stub.ListSessions(ListSessionsRequest()).partial == ["odd.json"]
        assert stub.GetSession(GetSessionRequest(id=1)).partial == ["odd.json"]
        for message in stub.WatchSessions(WatchSessionsRequest()):
            if message.HasField("sync"):
                states = {source.name: source.partial for source in message.sync.sources}
                assert states["odd.json"] == "some sessions could not be read"
                assert states["session_1.json"] == ""
                break


def test_events_name_it(program: Serving) -> None:
    with reading(f"http://{program.http}") as stream:
        events = {event.name: event.data for event in stream.until("sync")}
    odd = events["sources"][0]
    assert (odd["id"], odd["attributes"]["state"]) == ("odd.json", "reachable")
    assert odd["attributes"]["partial"] == "some sessions could not be read"


def test_the_commands_say_it_on_standard_error(program: Serving) -> None:
    for name in ("list", "show", "sources"):
        ended = run(name, *(["21"] if name == "show" else []), "--core", program.grpc)
        assert ended.returncode == 0
        assert "odd.json" in ended.stderr
        assert "partial" in ended.stderr or "in part" in ended.stderr
    assert "could not read 1 sessions and 1 members of others, such as /data/2/id" in ended.stderr


def test_nothing_repeats_a_value(program: Serving, http: httpx.Client) -> None:
    for url in ("/v1/sessions", "/v1/sources"):
        assert "SECRET" not in http.get(url).text
    assert "SECRET" not in program.output
    assert program.output.count("odd.json is read only partially") == 1


@pytest.mark.long
def test_a_file_that_heals_is_whole_again_and_its_ids_are_never_given_twice(
    tmp_path: Path,
) -> None:
    path = tmp_path / "odd.json"
    path.write_text(document(with_id("57"), with_id("x", 1), with_id("007", 2)))
    arguments = ("--source", f"document:{path}", "--ledger", f"sqlite:///{tmp_path}/ledger.db")
    with Forked(*arguments) as program:
        assert ids(program) == {"57": None, "1": "x", "2": "007"}
        path.write_text(document(with_id(5)))
        program.expect("odd.json is read only partially")
        assert ids(program) == {"57": None, "1": "x", "2": "007"}, "whether they ended is not known"
        path.write_text(document(with_id("2", 1)))
        program.expect("odd.json is read completely again")
        assert ids(program) == {"3": "2"}
    path.write_text(document(with_id("57"), with_id("2", 1), with_id("3")))
    with Forked(*arguments) as program:
        assert ids(program) == {"3": "2", "4": "57", "5": "3"}


def ids(program: Serving) -> dict[str, str | None]:
    """Return the native id of each session, by its id."""
    answer = httpx.get(f"http://{program.http}/v1/sessions", timeout=PATIENCE, trust_env=False)
    return {item["id"]: item["attributes"].get("native_id") for item in answer.json()["data"]}
