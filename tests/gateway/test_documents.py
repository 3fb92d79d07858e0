"""The documented answers, in full, through real HTTP and a real core."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from sessiongate.gateway.api.documents import Referred
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.views import PAGE_SIZE
from sessiongate.v1.session_pb2 import Session
from tests.gateway.programs import DATA, in_process, one_view, running_core

COLLECTION = (DATA / "sessions.json").read_bytes()
SESSION = (DATA / "session_1.json").read_bytes()


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/sessions/"])
def test_the_reference_text_s_collection(http: httpx.Client, path: str) -> None:
    answer = http.get(path, params={"pretty": "true"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert answer.content == COLLECTION


@pytest.mark.parametrize("ident", ["1", "1/", "01", "%31", "0000000000000000000000000000001"])
def test_the_reference_text_s_session(http: httpx.Client, ident: str) -> None:
    answer = http.get(f"/v1/sessions/{ident}", params={"pretty": "true"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert answer.content == SESSION


@pytest.mark.parametrize(
    ("path", "golden"), [("/v1/sessions", COLLECTION), ("/v1/sessions/1", SESSION)]
)
def test_a_document_is_compact_unless_it_is_to_be_pretty(
    http: httpx.Client, path: str, golden: bytes
) -> None:
    compact = json.dumps(json.loads(golden), separators=(",", ":")).encode()
    assert http.get(path).content == compact
    assert http.get(path, params={"pretty": "no", "sync": "false"}).content == compact


@one_view
@pytest.mark.parametrize("path", ["/", "/v1", "/v1/"])
def test_the_root_leads_to_the_sessions(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    assert answer.json() == {
        "links": {
            "self": "http://localhost:8989/v1/",
            "describedby": "http://localhost:8989/v1/openapi.json",
            "sessions": "http://localhost:8989/v1/sessions/",
            "services": "http://localhost:8989/v1/services/",
            "sources": "http://localhost:8989/v1/sources/",
            "counts": "http://localhost:8989/v1/counts/?by=service",
            "history": "http://localhost:8989/v1/history/sessions/",
        },
        "meta": {"name": "sessiongate"},
    }


@one_view
@pytest.mark.parametrize(
    "ident",
    ["0", "000", "-1", "+1", "1.0", "abc", " 1", "1e3", "٣", str(2**64), "9" * 5000, "0x1"],
)
def test_what_is_no_id_is_not_found(http: httpx.Client, ident: str) -> None:
    check_not_found(http, ident)


def test_a_session_that_does_not_exist_is_not_found(http: httpx.Client) -> None:
    about = "http://localhost:8989/v1/history/sessions/4"
    check_not_found(http, "4", links={"about": about})


def check_not_found(http: httpx.Client, ident: str, **more: object) -> None:
    """Check the answer for an id, in full."""
    answer = http.get(httpx.URL("/v1/sessions/", path=f"/v1/sessions/{ident}"))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert answer.json() == {
        "errors": [
            {
                "status": "404",
                "code": "SESSION_NOT_FOUND",
                "title": "Not Found",
                "detail": f"no session with id {ident if len(ident) < 40 else '9' * 40 + '...'}",
                **more,
            }
        ]
    }


def test_the_largest_id_is_asked_for(http: httpx.Client) -> None:
    answer = http.get(f"/v1/sessions/{2**64 - 1}")
    assert answer.json()["errors"][0]["detail"] == "no session with id 18446744073709551615"


@one_view
@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v2", ""),
        ("/v1/sessions/1/x", ""),
        ("/v1//", ""),
        ("//", ""),
        ("/v1/session", "/v1/sessions"),
        ("/sesions/", "/v1/sessions"),
        ("/v1/Sources", "/v1/sources"),
        ("/v1/sesions/17", "/v1/sessions/17"),
        ("/v1/sessions/1/sevrices", "/v1/sessions/1/services"),
        ("/v1/service/a%2Fb/session", "/v1/services/a%2Fb/sessions"),
        ("/v1/sessions/1/relationship/service", "/v1/sessions/1/relationships/services"),
        ("/v1/sesions/" + "9" * 20, "/v1/sessions/" + "9" * 20),
        ("/healtz", "/healthz"),
        ("/v1/openapi.jsn", "/v1/openapi.json"),
    ],
)
def test_an_unknown_path_is_not_found(http: httpx.Client, path: str, meant: str) -> None:
    answer = http.get(http.base_url.copy_with(raw_path=path.encode()))
    assert answer.status_code == 404
    assert answer.json()["errors"] == [
        {
            "status": "404",
            "code": "NOT_FOUND",
            "title": "Not Found",
            "detail": f"no resource at {path}{meant and f'; did you mean {meant!r}?'}",
        }
    ]


@one_view
def test_every_fault_of_a_query_is_named(http: httpx.Client) -> None:
    answer = http.get("/v1/sessions?pretty=maybe&page=2")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert [error["source"] for error in answer.json()["errors"]] == [
        {"parameter": "pretty"},
        {"parameter": "page"},
    ]


def test_links_start_with_the_host_that_was_asked(http: httpx.Client) -> None:
    answer = http.get("/v1/sessions/2", headers={"Host": "127.0.0.1"})
    links = answer.json()["links"]
    assert links == {"self": "http://127.0.0.1/v1/sessions/2"}


def test_links_start_with_the_public_url_where_there_is_one(core: str) -> None:
    async def test() -> None:
        url = "https://sessions.example:8443/maxscale/"
        async with in_process(core, public_url=url) as http:
            document = (await http.get("/v1/sessions/2")).json()
        assert document["links"]["self"] == f"{url}v1/sessions/2"
        services = document["data"]["relationships"]["services"]
        assert services["links"]["self"] == f"{url}v1/services/"

    asyncio.run(test())


def test_a_collection_of_many_pages_is_whole(tmp_path: Path) -> None:
    template = json.loads(SESSION)["data"]
    count = 2 * PAGE_SIZE + 1
    items = [{**template, "id": str(ident)} for ident in range(1, count + 1)]
    path = tmp_path / "many.json"
    path.write_text(json.dumps({"data": items}))

    async def test() -> None:
        with running_core(f"document:{path}") as core:
            async with in_process(core) as http:
                document = (await http.get("/v1/sessions")).json()
        assert [item["id"] for item in document["data"]] == [item["id"] for item in items]

    asyncio.run(test())


def test_what_is_to_be_included_is_noted_row_by_row() -> None:
    rows = [
        SessionRow(Session(id=1, service="a", upstream_ids=[3, 4])),
        SessionRow(Session(id=2, service="a", upstream_ids=[4], downstream_ids=[5])),
    ]
    referred = Referred()
    steps = referred.add(rows)
    next(steps)
    assert (referred.ids, referred.services) == ({1}, {"a"})
    assert sum(1 for _ in steps) == 1
    assert referred.ids == {1, 2}
    assert [*referred.ahead["upstream"]] == [3, 4]
    assert [*referred.ahead["downstream"]] == [5]


def test_a_source_that_cannot_be_read_is_named_last(tmp_path: Path) -> None:
    async def test() -> None:
        sources = [f"document:{DATA / 'sessions.json'}", f"document:{tmp_path / 'absent.json'}"]
        with running_core(*sources) as core:
            async with in_process(core) as http:
                collection = await http.get("/v1/sessions?pretty=true")
                session = await http.get("/v1/sessions/1?pretty=true")
        meta = b""",
    "meta": {
        "unreachable": [
            "absent.json"
        ]
    }
}"""
        assert collection.content == COLLECTION.removesuffix(b"\n}") + meta
        assert session.content == SESSION.removesuffix(b"\n}") + meta

    asyncio.run(test())
