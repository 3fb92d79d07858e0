"""Each invalid request, and the error that it gets."""

from __future__ import annotations

import httpx
import pytest

from tests.gateway.programs import one_view

FILTER, SORT = "filter", "sort"
SIZE, NUMBER = "page[size]", "page[number]"
AFTER, BEFORE = "page[after]", "page[before]"
BAD = "INVALID_PARAMETER"

# The query of a request for the sessions; the codes of its errors, and what each blames.
QUERIES: list[tuple[str, list[tuple[str, str | None]]]] = [
    # Unknown parameters.
    ("x=1", [(BAD, "x")]),
    ("=1", [(BAD, "")]),
    ("Pretty=true", [(BAD, "Pretty")]),
    ("page=1", [(BAD, "page")]),
    ("page[]=1", [(BAD, "page[]")]),
    ("page[limit]=1", [(BAD, "page[limit]")]),
    ("fields=user", [(BAD, "fields")]),
    ("fields[filters]=x", [(BAD, "fields[filters]")]),
    ("fields[]=x", [(BAD, "fields[]")]),
    ("filters[user]=1", [(BAD, "filters[user]")]),
    ("jsonapi=1", [(BAD, "jsonapi")]),
    ("&".join(["x=1"] * 101), [(BAD, None)]),
    ("sort=%FF", [(BAD, None)]),
    ("filter=id=%22%ED%A0%80%22", [(BAD, None)]),
    # Repeated parameters.
    ("pretty=true&pretty=true", [(BAD, "pretty")]),
    ("sort=id&sort=id", [(BAD, SORT)]),
    ("include=services&include=services", [(BAD, "include")]),
    ("page[size]=1&page[size]=2", [(BAD, SIZE)]),
    ("fields[sessions]=user&fields[sessions]=port", [(BAD, "fields[sessions]")]),
    ("sync=1&sync=1", [(BAD, "sync")]),
    # Values.
    ("pretty=", [(BAD, "pretty")]),
    ("pretty=2", [(BAD, "pretty")]),
    ("pretty", []),
    ("sort=", [(BAD, SORT)]),
    ("sort=id,", [(BAD, SORT)]),
    ("sort=-", [(BAD, SORT)]),
    ("sort=user,user", [(BAD, SORT)]),
    ("sort=a.b..c", [(BAD, SORT)]),
    ("sort=~2/x", [(BAD, SORT)]),
    ("sort=" + "x" * 300, [(BAD, SORT)]),
    ("sort=" + ",".join(f"a{n}" for n in range(9)), [(BAD, SORT)]),
    ("include=filters", [(BAD, "include")]),
    ("include=services,", [(BAD, "include")]),
    ("include=services,services", [(BAD, "include")]),
    ("include=services.sessions", [(BAD, "include")]),
    ("fields[sessions]=user,", [(BAD, "fields[sessions]")]),
    ("fields[sessions]=client//cipher", [(BAD, "fields[sessions]")]),
    ("fields[sessions]=~9", [(BAD, "fields[sessions]")]),
    ("fields[sessions]=" + ",".join(f"a{n}" for n in range(101)), [(BAD, "fields[sessions]")]),
    # Pages.
    ("page[size]=0", [(BAD, SIZE)]),
    ("page[size]=-1", [(BAD, SIZE)]),
    ("page[size]=1.0", [(BAD, SIZE)]),
    ("page[size]=abc", [(BAD, SIZE)]),
    ("page[size]=", [(BAD, SIZE)]),
    ("page[size]=%D9%A3", [(BAD, SIZE)]),
    ("page[size]=10001", [("MAX_PAGE_SIZE_EXCEEDED", SIZE)]),
    ("page[size]=" + "9" * 400, [(BAD, SIZE)]),
    ("page[number]=1", [(BAD, NUMBER)]),
    ("page[size]=1&page[number]=-1", [(BAD, NUMBER)]),
    ("page[size]=1&page[number]=2147483648", [(BAD, NUMBER)]),
    ("page[size]=1&page[number]=0&page[after]=1", [(BAD, NUMBER)]),
    ("page[after]=x", [(BAD, AFTER)]),
    ("page[after]=", [(BAD, AFTER)]),
    ("page[before]=0", [(BAD, BEFORE)]),
    ("page[before]=18446744073709551616", [(BAD, BEFORE)]),
    ("page[after]=1&page[before]=3", [("RANGE_PAGINATION_NOT_SUPPORTED", BEFORE)]),
    ("page[after]=1&sort=user", [("UNSUPPORTED_SORT", SORT)]),
    ("page[after]=1&sort=-id", [("UNSUPPORTED_SORT", SORT)]),
    # Filters.
    ("filter=", [(BAD, FILTER)]),
    ("filter=nonsense", [(BAD, FILTER)]),
    ("filter=id=", [(BAD, FILTER)]),
    ("filter=id=abc", [(BAD, FILTER)]),
    ("filter=id='1'", [(BAD, FILTER)]),
    ("filter=id=eq(1", [(BAD, FILTER)]),
    ("filter=id=eq(1)x", [(BAD, FILTER)]),
    ("filter=id=eq(1,2)", [(BAD, FILTER)]),
    ("filter=id=EQ(1)", [(BAD, FILTER)]),
    ("filter=id=and()", [(BAD, FILTER)]),
    ("filter=id=lt(true)", [(BAD, FILTER)]),
    ("filter=id=lt([1])", [(BAD, FILTER)]),
    ("filter=id=NaN", [(BAD, FILTER)]),
    ("filter=id=1e999", [(BAD, FILTER)]),
    ("filter=id=" + "[" * 33 + "]" * 33, [(BAD, FILTER)]),
    ("filter=id=" + '"' + "x" * 4096 + '"', [(BAD, FILTER)]),
    ("filter=a~b=1", [(BAD, FILTER)]),
    ("filter=id=%22%5Cud800%22", [(BAD, FILTER)]),
    ("filter=/relationships/services/data/0/id=%22%5Cud800%22", [(BAD, FILTER)]),
    ("filter=id=[%22%5Cudfff%22]", [(BAD, FILTER)]),
    ("filter[]=1", [(BAD, "filter[]")]),
    ("filter[$]]=1", [(BAD, "filter[$]]")]),
    ("filter[$.a[?match(@.b,'x')]]=1", [(BAD, "filter[$.a[?match(@.b,'x')]]")]),
    ("filter[$..a..b]=1", [(BAD, "filter[$..a..b]")]),
    ("filter[user]=", [(BAD, "filter[user]")]),
    # Names.
    ("sort=--id", [(BAD, SORT)]),
    ("sort=user,usr", [(BAD, SORT)]),
    ("fields[sessions]=attributes.user", [(BAD, "fields[sessions]")]),
    ("fields[services]=conections", [(BAD, "fields[services]")]),  # and none are included
    ("filter[user]=%22a%22", [(BAD, "filter[user]")]),
    ("filter=/attributes/usr=1", [(BAD, FILTER)]),
    (
        "filter[attributes.usr]=1&filter=/usr=1&filter=id=1",
        [(BAD, "filter[attributes.usr]"), (BAD, FILTER)],
    ),
    # Several at once.
    (
        "x=1&sort=&page[size]=0&filter=&pretty=z",
        [(BAD, FILTER), (BAD, "pretty"), (BAD, SORT), (BAD, SIZE), (BAD, "x")],
    ),
]


@one_view
@pytest.mark.parametrize(("query", "errors"), QUERIES, ids=[query[:60] for query, _ in QUERIES])
def test_a_query(fleet: httpx.Client, query: str, errors: list[tuple[str, str | None]]) -> None:
    answer = fleet.get(f"/v1/sessions?{query}")
    assert answer.status_code == (400 if errors else 200)
    if errors:
        found = answer.json()["errors"]
        assert {error["status"] for error in found} == {"400"}
        assert [
            (error["code"], error.get("source", {}).get("parameter")) for error in found
        ] == errors


@one_view
@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("sort=-usr", "sort: there is no attribute 'usr'; did you mean 'user'?"),
        ("filter[usr]=1", "there is no member 'usr'; did you mean 'attributes.user'?"),
        (
            "filter=attributes.user=1",
            "filter: there is no member 'attributes.user'; did you mean '/attributes/user'?",
        ),
        ("filter[user]=gte(1)", "at offset 0, there is no gte(); did you mean 'ge'?"),
        ("rdsn", "unknown parameter 'rdsn'; did you mean 'rdns'?"),
        ("pretyy", "unknown parameter 'pretyy'; did you mean 'pretty'?"),
        ("PRETTY", "unknown parameter 'PRETTY'; did you mean 'pretty'?"),
        ("page[sise]=1", "unknown parameter 'page[sise]'; did you mean 'page[size]'?"),
        ("pge[number]=1", "unknown parameter 'pge[number]'; did you mean 'page[number]'?"),
        ("page_size=1", "unknown parameter 'page_size'; did you mean 'page[size]'?"),
        (
            "page=1",
            "unknown parameter 'page'; did you mean 'page[size]' or 'page[number]'?",
        ),
        ("page[num]=1", "unknown parameter 'page[num]'; did you mean 'page[number]'?"),
        (
            "fields[session]=user",
            "unknown parameter 'fields[session]'; did you mean 'fields[sessions]'?",
        ),
        (
            "filtre[attributes.user]=1",
            "unknown parameter 'filtre[attributes.user]'; did you mean 'filter[attributes.user]'?",
        ),
        ("include=servces", "'servces' cannot be included; did you mean 'services'?"),
        (
            "filter[/attributes/connections/0/server]=1",
            "'/attributes/connections/0/server' is not a JSONPath (RFC 9535, without functions): at"
            " offset 0, unexpected token '/'; did you mean 'attributes.connections[0].server'?",
        ),
        (
            "filter[attributes.connections[?@.server==1].server]=1",
            "'filter[attributes.connections[?@.server' must end in ']';"
            " inside it, write %3D for '=' and %26 for '&'",
        ),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(
    fleet: httpx.Client, query: str, detail: str
) -> None:
    [error] = fleet.get(f"/v1/sessions?{query}").json()["errors"]
    assert error["detail"] == detail


def test_nothing_long_is_repeated_whole(fleet: httpx.Client) -> None:
    long = "longer" * 20
    for query in (
        f"{long}=1",
        f"{long}=1&{long}=2",
        f"fields[{long}]=1",
        f"filter[{long}]=1",
        f"filter[$.{long}+!]=1",
        f"filter[{long}()]=1",
        f"filter[$..[?{long}(@.b)]]=1",
        f"filter=/attributes/{long}=1",
        f"filter[attributes.client.conection_attributes.{long}]=1",
        f"filter[attributes/client/connection_attributes/{long}]=1",
        f"filter[attributes.connections[?@.server%3D%3D'{long}'].servr]=1",
        f"filter[attributes.connections[?@.server%3D%3D'{long}'%26%26@['servr']].server]=1",
        f"filter=/attributes/client/conection_attributes/{long}=1",
        f"sort=client.conection_attributes.{long}",
        f"fields[sessions]=client/conection_attributes/{long}",
        f"filter=~{long}=1",
        f"filter={long}",
        f"filter[id]={long}",
        f"filter[id]={long}(1)",
        f"sort={long}",
        f"sort={long},{long}",
        f"sort={long},,",
        f"sort=.{long}",
        f"fields[sessions]={long}",
        f"fields[sessions]={long}/",
        f"include={long}",
        f"pretty={long}",
        f"page[size]={long}",
        f"page[size]=1&page[after]={long}",
    ):
        answer = fleet.get(f"/v1/sessions?{query}")
        assert answer.status_code == 400, query
        for error in answer.json()["errors"]:
            assert long[:50] not in error["detail"], query
    for path in (f"/v1/{long}", f"/v1/sessions/{long}", f"/v1/services/{long}"):
        [error] = fleet.get(path).json()["errors"]
        assert long[:50] not in error["detail"]


@one_view
@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/?include=services", "include"),
        ("/v1/?filter=id=1", "filter"),
        ("/v1/sessions/1?filter=id=1", "filter"),
        ("/v1/sessions/1?sort=id", "sort"),
        ("/v1/sessions/1?page[size]=1", "page[size]"),
        ("/v1/sessions/1?fields[nodes]=x", "fields[nodes]"),
        ("/v1/sessions/1?fields[sessions]=listeners", "fields[sessions]"),
        ("/v1/sessions/1/services?filter[attributes.user]=1", "filter[attributes.user]"),
        ("/v1/sources?sort=user", "sort"),
        ("/v1/sessions/1/relationships/services?fields[services]=x", "fields[services]"),
        ("/v1/sessions/1/services?include=sessions", "include"),
        ("/v1/services?include=sessions", "include"),
        ("/v1/services/a%2Fb?sort=id", "sort"),
        ("/v1/services?page[after]=x&sort=connections", "sort"),
        ("/v1/openapi.json?format=yaml", "format"),
        ("/docs?page=1", "page"),
    ],
)
def test_a_parameter_that_is_another_resource_s(
    fleet: httpx.Client, path: str, parameter: str
) -> None:
    answer = fleet.get(path)
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["source"] == {"parameter": parameter}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/sessions/61", "SESSION_NOT_FOUND"),
        ("/v1/sessions/x/services", "SESSION_NOT_FOUND"),
        ("/v1/sessions/61/relationships/services", "SESSION_NOT_FOUND"),
        ("/v1/services/none", "SERVICE_NOT_FOUND"),
        ("/v1/services/A%2Fb", "SERVICE_NOT_FOUND"),
        ("/v1/services/%FF", "SERVICE_NOT_FOUND"),
        ("/v1/services/none/sessions", "SERVICE_NOT_FOUND"),
        ("/v1/sources/none", "SOURCE_NOT_FOUND"),
        ("/v1/services/a/b", "NOT_FOUND"),
        ("/v1/sessions/1/relationships/filters", "NOT_FOUND"),
        ("/v1/sessions/1/relationships", "NOT_FOUND"),
        ("/v1/v1/sessions", "NOT_FOUND"),
        ("/v1%2Fsessions", "NOT_FOUND"),
        ("/v1/Sessions", "NOT_FOUND"),
        ("/v1/sessions//", "NOT_FOUND"),
        ("/docs//", "NOT_FOUND"),
    ],
)
def test_what_is_not_there(fleet: httpx.Client, path: str, code: str) -> None:
    for method in ("GET", "HEAD"):
        answer = fleet.request(method, fleet.base_url.copy_with(raw_path=path.encode()))
        assert answer.status_code == 404
    answer = fleet.get(fleet.base_url.copy_with(raw_path=path.encode()))
    assert [error["code"] for error in answer.json()["errors"]] == [code]
