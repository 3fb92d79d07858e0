"""HTTP's promises for every response, over both views and the real server."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import httpx
import pytest

from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.jsonapi.conditional import parse_etags, revisions_of
from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.jsonapi.paging import PROFILE
from tests.gateway.programs import one_view

LIVE = [
    "/v1/sessions",
    "/v1/sessions/7",
    "/v1/sessions/7/services",
    "/v1/sessions/7/relationships/services",
    "/v1/services",
    "/v1/services/a%2Fb",
    "/v1/services/a%2Fb/sessions",
    "/v1/counts?by=user,service",
    "/v1/maxscale",
]
# One path of each class of routes, for what all routes of a class share.
SESSION, ROOT, PAGE = "/v1/sessions/7", "/v1/", "/docs"
CLASSES = ["/v1/sessions", SESSION, ROOT, PAGE, "/healthz"]
VARY = "Accept, Accept-Encoding"
DAY_BEFORE = "Tue, 16 May 2017 10:06:35 GMT"
FAR_AHEAD = "Fri, 01 Jan 2100 00:00:00 GMT"


def headers(answer: httpx.Response) -> dict[str, str]:
    """Return an answer's headers, except those that differ from one request to the next."""
    passing = ("date", "x-request-id", "transfer-encoding")
    return {name: value for name, value in answer.headers.items() if name not in passing}


def the_error(answer: httpx.Response) -> dict[str, Any]:
    """Return an answer's only error, and check its shape."""
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.headers["vary"] == VARY
    assert answer.headers["cache-control"] == "no-store"
    [error] = answer.json()["errors"]
    assert error["status"] == str(answer.status_code)
    assert error["title"] == HTTPStatus(answer.status_code).phrase
    assert isinstance(error, dict)
    return error


def test_every_operation_is_listed_here() -> None:
    shapes = {operation.path for operation in OPERATIONS if operation.live}
    paths = [path.partition("?")[0] for path in LIVE]
    asked = {path.replace("/7", "/{id}").replace("/a%2Fb", "/{id}") for path in paths}
    assert asked == shapes


@one_view
@pytest.mark.parametrize("path", [*CLASSES, "/", "/v1/sessions/", "/sessions/7"])
def test_options_says_what_may_be_asked(fleet: httpx.Client, path: str) -> None:
    answer = fleet.options(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@one_view
def test_options_of_the_server_as_a_whole(http: httpx.Client) -> None:
    answer = http.options("/", extensions={"target": b"*"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@one_view
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, "/v1/sessions") for method in ("PUT", "PATCH", "DELETE", "TRACE", "QUERY")),
        *(("POST", path) for path in CLASSES),
    ],
)
def test_nothing_may_be_changed(fleet: httpx.Client, path: str, method: str) -> None:
    answer = fleet.request(method, path, content=b"{}")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    error = the_error(answer)
    assert error["code"] == "METHOD_NOT_ALLOWED"
    assert error["detail"] == f"{method} is not allowed; allowed are GET, HEAD, OPTIONS"


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize(
    "path",
    ["/v1/sessions", "/v1/sessions/?pretty=true", "/v1/services", SESSION, "/v1/sessions/999"],
)
def test_head_is_get_in_every_header(fleet: httpx.Client, path: str, encoding: str) -> None:
    check_head(fleet, path, encoding)


@one_view
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("path", ["/", ROOT, PAGE, "/v1/nothing", "/v1/?x=1"])
def test_head_is_get_where_no_session_is_shown(
    fleet: httpx.Client, path: str, encoding: str
) -> None:
    check_head(fleet, path, encoding)


def check_head(fleet: httpx.Client, path: str, encoding: str) -> None:
    """Check that HEAD has the status and the headers of GET, and no body."""
    asked = {"Accept-Encoding": encoding}
    while True:  # until nothing grew older meanwhile, which may lengthen a document
        get, head = fleet.get(path, headers=asked), fleet.head(path, headers=asked)
        if headers(fleet.get(path, headers=asked)) == headers(get):
            break
    assert head.content == b""
    assert (head.status_code, headers(head)) == (get.status_code, headers(get))
    assert ("gzip" in get.headers.get("content-encoding", "")) == (
        encoding == "gzip" and len(get.content) >= 500 and get.status_code == 200
    )


@pytest.mark.parametrize("path", LIVE)
def test_what_is_told_from_sessions_can_be_asked_again(fleet: httpx.Client, path: str) -> None:
    answer = fleet.get(path)
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["vary"] == VARY
    etag, modified = answer.headers["etag"], answer.headers["last-modified"]
    conditions = [
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": DAY_BEFORE}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Unmodified-Since": FAR_AHEAD}, 200),
    ]
    if path in CLASSES:
        conditions += [
            ({"If-None-Match": f'"x", {etag}'}, 304),
            ({"If-None-Match": "*"}, 304),
            ({"If-Modified-Since": FAR_AHEAD}, 304),
            ({"If-Modified-Since": "yesterday"}, 200),
            ({"If-None-Match": '"x"', "If-Modified-Since": FAR_AHEAD}, 200),
            ({"If-Match": etag}, 200),
            ({"If-Match": "*"}, 200),
            ({"If-Match": '"x"', "If-None-Match": etag}, 412),
            ({"If-Match": etag, "If-None-Match": etag}, 304),
            ({"If-Unmodified-Since": DAY_BEFORE}, 412),
            ({"If-Match": etag, "If-Unmodified-Since": DAY_BEFORE}, 200),
        ]
    for condition, status in conditions:
        for method in ("GET", "HEAD") if path in CLASSES else ("GET",):
            again = fleet.request(method, path, headers=condition)
            assert again.status_code == status, condition
            if status == 304:
                assert again.content == b""
                for name in ("etag", "last-modified", "cache-control", "vary"):
                    assert again.headers[name] == answer.headers[name]
            elif status == 412 and method == "GET":
                error = the_error(again)
                assert error["code"] == "PRECONDITION_FAILED"
                assert error["source"]["header"] in condition


def test_the_whole_question_is_part_of_the_etag(fleet: httpx.Client) -> None:
    questions: list[tuple[str, dict[str, str]]] = [
        ("/v1/sessions", {}),
        ("/v1/sessions?pretty=true", {}),
        ("/v1/sessions?sort=-id", {}),
        ("/v1/sessions?filter=id=1", {}),
        ("/v1/sessions/7", {}),
        ("/v1/sessions", {"Accept": "application/json"}),
        ("/v1/sessions", {"Host": "127.0.0.1"}),
        ("/v1/sessions?page[size]=9", {}),
        ("/v1/sessions?page[size]=9", {"Accept": f'{MEDIA_TYPE};profile="{PROFILE}"'}),
    ]
    etags = [fleet.get(path, headers=asked).headers["etag"] for path, asked in questions]
    assert len(set(etags)) == len(questions)


def test_the_etag_of_a_session_has_a_part_that_says_who_it_is(fleet: httpx.Client) -> None:
    questions = ("", "?pretty=true", "?include=services", "?fields[sessions]=user")
    tags = [fleet.get(f"/v1/sessions/7{asked}").headers["etag"] for asked in questions]
    parts = [revisions_of(tag) for one in tags for tag in parse_etags(one)]
    assert len({identity for _, identity in filter(None, parts)}) == 1
    assert None not in parts
    (collection,) = parse_etags(fleet.get("/v1/sessions").headers["etag"])
    assert revisions_of(collection) is None


@pytest.mark.parametrize(
    "query",
    [
        *("sort=idle", "filter=/attributes/idle=gt(1)", "sort=user,-idle"),
        *("min_idle=0", "min_activity_duration=1.5"),
    ],
)
def test_what_the_clock_changes_has_no_validator(fleet: httpx.Client, query: str) -> None:
    answer = fleet.get(f"/v1/sessions?{query}", headers={"If-None-Match": "*"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert not {"etag", "last-modified"} & set(answer.headers)


@one_view
@pytest.mark.parametrize(
    ("path", "accept", "media_type"),
    [
        ("/v1/sessions", "*/*", MEDIA_TYPE),
        ("/v1/sessions", "application/*", MEDIA_TYPE),
        ("/v1/sessions", "application/json", "application/json"),
        ("/v1/sessions", f"application/json;q=0.9, {MEDIA_TYPE};q=0.8", "application/json"),
        ("/v1/sessions", "text/html, application/xhtml+xml, */*;q=0.8", MEDIA_TYPE),
        ("/v1/sessions", f'{MEDIA_TYPE};profile="https://unknown.example/"', MEDIA_TYPE),
        ("/v1/sessions", "not a media type", MEDIA_TYPE),
        (SESSION, "application/json", "application/json"),
        (ROOT, "application/json", "application/json"),
    ],
)
def test_the_media_type_is_negotiated(
    fleet: httpx.Client, path: str, accept: str, media_type: str
) -> None:
    answer = fleet.get(path, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type


@one_view
@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/sessions", {"Accept": "text/html"}),
        ("/v1/sessions", {"Accept": "application/xml;q=0.5"}),
        ("/v1/sessions", {"Accept": "*/*;q=0"}),
        ("/v1/sessions", {"Accept": f"{MEDIA_TYPE};charset=utf-8"}),
        ("/v1/sessions", {"Accept": f'{MEDIA_TYPE};ext="https://jsonapi.org/ext/atomic"'}),
        ("/v1/sessions", {"Accept-Encoding": "identity;q=0"}),
        ("/v1/sessions", {"Accept-Encoding": "br, *;q=0"}),
        (SESSION, {"Accept": "text/html"}),
        (ROOT, {"Accept": "text/html"}),
    ],
)
def test_what_cannot_be_had_is_406(fleet: httpx.Client, path: str, asked: dict[str, str]) -> None:
    answer = fleet.get(path, headers=asked)
    assert answer.status_code == 406
    error = the_error(answer)
    assert error["code"] == "NOT_ACCEPTABLE"
    assert error["source"] == {"header": next(iter(asked))}


@one_view
@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/sessions", "charset=utf-8"),
        ("/v1/sessions", 'ext="https://jsonapi.org/ext/atomic"'),
        (SESSION, "charset=utf-8"),
        (ROOT, "charset=utf-8"),
    ],
)
def test_a_content_type_that_json_api_forbids_is_415(
    fleet: httpx.Client, path: str, parameter: str
) -> None:
    answer = fleet.get(path, headers={"Content-Type": f"{MEDIA_TYPE};{parameter}"})
    assert answer.status_code == 415
    error = the_error(answer)
    assert error["code"] == "UNSUPPORTED_MEDIA_TYPE"
    assert error["source"] == {"header": "Content-Type"}


@one_view
def test_a_profile_that_is_applied_is_named(fleet: httpx.Client) -> None:
    asked = f'{MEDIA_TYPE};profile="{PROFILE} https://unknown.example/"'
    answer = fleet.get("/v1/sessions?page[size]=2", headers={"Accept": asked})
    assert answer.headers["content-type"] == f'{MEDIA_TYPE};profile="{PROFILE}"'
    assert answer.json()["data"][0]["meta"] == {"page": {"cursor": "1"}}


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/services", "/v1/sessions?pretty=true"])
def test_gzip_holds_the_same_document(fleet: httpx.Client, path: str) -> None:
    plain = fleet.get(path, headers={"Accept-Encoding": "identity"})
    packed = fleet.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    assert packed.json().keys() == plain.json().keys()
    for name in ("vary", "etag", "content-type", "cache-control"):
        assert packed.headers[name] == plain.headers[name]


@one_view
def test_repeated_headers_count_as_one_list(fleet: httpx.Client) -> None:
    etag = fleet.get("/v1/sessions/7").headers["etag"]
    tags = [("If-None-Match", '"x"'), ("If-None-Match", etag)]
    assert fleet.get("/v1/sessions/7", headers=tags).status_code == 304
    accepts = [("Accept", "text/html"), ("Accept", "application/json;q=0.1")]
    answer = fleet.get("/v1/sessions/7", headers=accepts)
    assert answer.headers["content-type"] == "application/json"
