"""maxctrl's requests, as recorded, and what each command reads from the answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessiongate.core.sources.maxscale import read_services
from tests.core.observing import arriving
from tests.core.test_jsonapi_sessions import replaced
from tests.gateway.programs import DATA, VIEWS, client_of, in_process, running_core, viewing_gateway
from tests.maxscale import SERVICES, MaxScale

RECORDED = (DATA / "maxctrl-24.02.md").read_text(encoding="utf-8")
HEADERS = {
    "Accept": "application/json, text/plain, */*",
    "User-Agent": "axios/0.28.0",
    "Authorization": "Basic YWRtaW46bWFyaWFkYg==",
}


def requests() -> dict[str, list[tuple[str, str]]]:
    """Return the methods and paths that each command requests, in order."""
    rows = re.findall(r"^\| (`.+`) \| (.+) \|$", RECORDED, re.MULTILINE)
    return {
        re.findall(r"`([^`]+)`", command)[0]: re.findall(r"`(GET|DELETE|POST) ([^`]+)`", asked)
        for command, asked in rows
    }


REQUESTS = requests()


def write_sessions(path: Path, queries: list[Any]) -> Path:
    """Write a document of three sessions that a MaxScale might have; the last has ``queries``."""
    items: list[dict[str, Any]] = [
        {
            "id": ident,
            "type": "sessions",
            "relationships": {"services": {"data": [{"id": "CLI", "type": "services"}]}},
            "attributes": {
                "state": "Session started",
                "connected": "Wed May 17 10:06:35 2017",
                "user": "app",
                "remote": f"192.0.2.{ident}",
                "idle": 5.2,
                "connections": [{"server": "db-1"}],
                "client": {"connection_attributes": {"_client_name": "libmariadb"}},
                "queries": [{"statement": "SELECT 1"}],
            },
        }
        for ident in ("1", "2", "3")
    ]
    items[-1]["attributes"]["queries"] = queries
    path.write_text(json.dumps({"data": items}))
    return path


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Run a core that shows statements of every session, and one that does not."""
    folder = tmp_path_factory.mktemp("maxctrl")
    told = write_sessions(folder / "told.json", [{"statement": "SELECT 2"}])
    untold = write_sessions(folder / "untold.json", [])
    with (
        running_core(f"document:{told}?statements=true") as one,
        running_core(f"document:{untold}?statements=true") as other,
    ):
        yield one, other


def asked(core: str, view: str, command: str) -> list[httpx.Response]:
    """Return the answers to a command's requests."""

    async def main() -> list[httpx.Response]:
        look_up = {"192.0.2.1": "one.example", "192.0.2.2": "two.example"}.get
        async with in_process(core, look_up, **VIEWS[view]) as http:
            return [
                await http.request(method, path, headers=HEADERS)
                for method, path in REQUESTS[command]
            ]

    return asyncio.run(main())


def check_session(item: dict[str, Any], remote: str) -> None:
    """Check what maxctrl reads from a session."""
    attributes = item["attributes"]
    assert (attributes["user"], attributes["remote"]) == ("app", remote)
    assert attributes["connected"] == "Wed May 17 10:06:35 2017"
    assert attributes["idle"] >= 5.2
    assert [found["server"] for found in attributes["connections"]] == ["db-1"]
    assert len(attributes["queries"]) == 1
    assert attributes["client"]["connection_attributes"] == {"_client_name": "libmariadb"}
    assert item["relationships"]["services"]["data"][0]["id"] == "CLI"


def check_sessions(answers: list[httpx.Response]) -> None:
    [data] = [answer.raise_for_status().json()["data"] for answer in answers]
    assert [item["id"] for item in data] == ["1", "2", "3"]
    for item in data:
        check_session(item, f"192.0.2.{item['id']}")


def check_named_sessions(answers: list[httpx.Response]) -> None:
    [data] = [answer.raise_for_status().json()["data"] for answer in answers]
    remotes = ["one.example", "two.example", "192.0.2.3"]
    for item, remote in zip(data, remotes, strict=True):
        check_session(item, remote)


def check_one_session(answers: list[httpx.Response]) -> None:
    [data] = [answer.raise_for_status().json()["data"] for answer in answers]
    assert data["id"] == "2"
    check_session(data, "192.0.2.2")


def check_one_named_session(answers: list[httpx.Response]) -> None:
    [data] = [answer.raise_for_status().json()["data"] for answer in answers]
    check_session(data, "two.example")


def check_services(answers: list[httpx.Response]) -> None:
    [data] = [answer.raise_for_status().json()["data"] for answer in answers]
    assert [(item["id"], item["attributes"]["statistics"]) for item in data] == [
        ("CLI", {"connections": 3})
    ]


def check_one_service(answers: list[httpx.Response]) -> None:
    [data] = [answer.raise_for_status().json()["data"] for answer in answers]
    assert (data["id"], data["attributes"]["connections"]) == ("CLI", 3)


def check_queries(answers: list[httpx.Response]) -> None:
    maxscale, sessions = (answer.raise_for_status().json()["data"] for answer in answers)
    assert maxscale["attributes"]["parameters"]["retain_last_statements"] > 0
    assert [len(item["attributes"]["queries"]) for item in sessions] == [1, 1, 1]


def check_filtered(answers: list[httpx.Response]) -> None:
    [data] = [answer.raise_for_status().json()["data"] for answer in answers]
    assert [item["id"] for item in data] == ["2"]


def check_refused(answers: list[httpx.Response]) -> None:
    """Check that a view refuses changes; maxctrl prints the document."""
    [answer] = answers
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert [error["code"] for error in answer.json()["errors"]] == ["METHOD_NOT_ALLOWED"]


def check_never(answers: list[httpx.Response]) -> None:
    """Check that there is no method for this, whoever asks."""
    [answer] = answers
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS")
    assert [error["code"] for error in answer.json()["errors"]] == ["METHOD_NOT_ALLOWED"]


CHECKS: dict[str, Callable[[list[httpx.Response]], None]] = {
    "list sessions": check_sessions,
    "list sessions --rdns": check_named_sessions,
    "--skip-sync list sessions": check_sessions,
    "show session 2": check_one_session,
    "show session 2 --rdns": check_one_named_session,
    "show sessions": check_sessions,
    "list services": check_services,
    "show service CLI": check_one_service,
    "list queries": check_queries,
    "destroy session 2": check_refused,
    "destroy session 2 --ttl 5": check_refused,
    "api get 'sessions?filter=id=\"2\"' 'data[].id'": check_filtered,
    "reload session 2": check_never,
}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make look-ups wait for every name, however slow the machine is."""
    monkeypatch.setattr("sessiongate.gateway.api.host_names.WAIT", 20.0)


def test_each_recorded_command_has_a_check() -> None:
    assert [*REQUESTS] == [*CHECKS]
    assert all(REQUESTS.values())


@pytest.mark.parametrize("command", CHECKS)
def test_a_command_of_maxctrl(command: str, cores: tuple[str, str], view: str) -> None:
    CHECKS[command](asked(cores[0], view, command))


def test_services_show_the_router_and_state_that_their_maxscale_states(view: str) -> None:
    """As `maxctrl list services` shows them, even if other sources have the services too."""
    maxscale = MaxScale()

    def check(location: str) -> None:
        sessions = DATA / "maxscale-24.02" / "sessions.json"
        with (
            running_core(
                f"document:{sessions}?name=a",
                f"document:{DATA / 'sessions.json'}?name=b",
                f"maxscale+http://{location}?name=c&interval=0.1",
            ) as core,
            viewing_gateway(core, view) as gateway,
            client_of(gateway) as http,
        ):
            answer = http.get("/v1/services", headers=HEADERS).raise_for_status()
            columns = {
                item["id"]: [item["attributes"].get(name) for name in ("router", "state")]
                for item in answer.json()["data"]
            }
            assert columns == {
                "CLI": [None, None],
                "RW-Split-Router": ["readwritesplit", "Started"],
                "Read-Connection-Router": ["readconnroute", "Started"],
            }
            included = http.get("/v1/sessions", params={"include": "services"}).json()["included"]
            assert sorted(included, key=lambda item: item["id"]) == sorted(
                answer.json()["data"], key=lambda item: item["id"]
            )
            # As a source asks for them when it reads this gateway as its MaxScale.
            asked_for = {"fields[services]": "router,state"}
            body = http.get("/v1/services", params=asked_for).content
            told = asyncio.run(read_services(arriving(body)))
            assert {each.name: [each.router, each.state] for each in told} == {
                name: column for name, column in columns.items() if name != "CLI"
            }
            maxscale.services = replaced(SERVICES, ("data", 0, "attributes", "state"), "Stopped")
            url = "/v1/services/Read-Connection-Router"
            etag = answer.headers["etag"]
            while (one := http.get(url)).json()["data"]["attributes"]["state"] != "Stopped":
                pass
            assert one.headers["etag"] != etag
            again = http.get("/v1/services", headers={"If-None-Match": etag})
            assert again.status_code == 200

    async def main() -> None:
        async with maxscale.serving() as location:
            await asyncio.to_thread(check, location)

    asyncio.run(main())


def test_no_queries_are_promised_unless_every_session_has_them(
    cores: tuple[str, str], view: str
) -> None:
    """maxctrl then itself says what to set, instead of failing at the session without queries."""
    maxscale, _ = asked(cores[1], view, "list queries")
    parameters = maxscale.raise_for_status().json()["data"]["attributes"]["parameters"]
    assert parameters == {"retain_last_statements": 0}


def test_it_has_the_validators_of_the_sessions(cores: tuple[str, str], view: str) -> None:
    with viewing_gateway(cores[0], view) as gateway, client_of(gateway) as http:
        etag = http.get("/v1/maxscale").headers["etag"]
        again = http.get("/v1/maxscale", headers={"If-None-Match": etag})
        assert again.status_code == 304


def test_its_attributes_are_there_whatever_is_asked_for(http: httpx.Client) -> None:
    """Our own source for MaxScale asks this way, and may be pointed at a gateway."""
    answer = http.get("/v1/maxscale", params={"fields[maxscale]": "started_at,uptime"})
    assert answer.json()["data"]["attributes"] == {}
    answer = http.get("/v1/maxscale", params={"fields[maxscale]": "uptimes"})
    assert answer.json()["errors"][0]["source"] == {"parameter": "fields[maxscale]"}
