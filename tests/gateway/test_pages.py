"""Pages compared with the plain list: by number, and by cursor while sessions come and go."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from tests.faults.scale import times
from tests.gateway.fleet import SIZE
from tests.gateway.programs import DATA, VIEWS, in_process
from tests.gateway.scripted import session

BASE = "http://localhost:8989"
FILTERS = ("id=ge(20)", '/attributes/user="user1"', "attributes/port=lt(5030)")
ORDERS = ("id", "-id", "user", "-connected,user", "state,-memory.total", "client.cipher,-port")
# Of few sessions, not to ask for a page of each of all.
ONE_BY_ONE = {"question": {"filter": FILTERS[1]}, "size": 1}
FEW = settings(
    max_examples=times(5, 250),
    # The programs behind the fixture only answer: no example changes them.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

questions = st.fixed_dictionaries(
    {},
    optional={
        "filter": st.sampled_from(FILTERS),
        "sort": st.sampled_from(ORDERS),
        "fields[sessions]": st.sampled_from(["", "user", "state,services"]),
        "include": st.just("services"),
    },
)


def ask(client: httpx.Client, link: str) -> dict[str, Any]:
    """Fetch a document by a link or path."""
    answer = client.get(link.removeprefix(BASE))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def plain(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the resources without what changes with time alone and what belongs to the page."""
    found = []
    for item in document["data"]:
        attributes = {k: v for k, v in item.get("attributes", {}).items() if k != "idle"}
        found.append({**item, "attributes": attributes, "meta": None})
    return found


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/sessions?sort=id", "/v1/sessions?sort=user", "/v1/sessions?filter=id=ge(2)"),
        *("/v1/sessions?min_idle=0", "/v1/services?sort=id", "/v1/sources?sort=id"),
        *("/v1/counts?by=state", "/v1/counts?by=state&filter=id=ge(2)"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 10_000])
def test_the_last_page_that_may_be_asked_for_is_empty(
    fleet: httpx.Client, path: str, size: int
) -> None:
    document = ask(fleet, f"{path}&page[size]={size}&page[number]={2**31 - 1}")
    assert document["data"] == []
    assert document["meta"]["total"] >= 0


@FEW
@given(question=questions, size=st.integers(times(7, 1), SIZE + 5))
@example(**ONE_BY_ONE)
def test_pages_by_number_are_the_plain_list_cut(
    walker: httpx.Client, question: dict[str, str], size: int
) -> None:
    whole = plain(ask(walker, f"/v1/sessions?{urlencode(question)}"))
    path = f"/v1/sessions?{urlencode({**question, 'page[size]': size})}"
    link: str | None = path
    pages: list[list[dict[str, Any]]] = []
    before: str | None = None
    while link is not None:
        document = ask(walker, link)
        links = document["links"]
        assert document["meta"]["total"] == len(whole)
        assert links.get("prev") == before
        assert plain(ask(walker, links["self"])) == plain(document)
        pages.append(plain(document))
        before, link = links["self"], links.get("next")
    assert [item for page in pages for item in page] == whole
    assert all(len(page) == size for page in pages[:-1])
    first = ask(walker, path)
    assert plain(ask(walker, first["links"]["first"])) == pages[0]
    assert plain(ask(walker, first["links"]["last"])) == pages[-1]
    behind = ask(walker, f"{path}&page[number]={len(pages) + 3}")
    assert behind["data"] == []
    assert plain(ask(walker, behind["links"]["prev"])) == pages[-1]


@FEW
@given(
    question=questions.filter(lambda found: found.get("sort") in (None, "id")),
    size=st.integers(times(7, 1), SIZE + 5),
    backwards=st.booleans(),
)
@example(**ONE_BY_ONE, backwards=False)
@example(**ONE_BY_ONE, backwards=True)
def test_pages_by_cursor_are_the_plain_list_cut(
    walker: httpx.Client, question: dict[str, str], size: int, backwards: bool
) -> None:
    whole = plain(ask(walker, f"/v1/sessions?{urlencode(question)}"))
    start = {"page[before]": str(2**64 - 1)} if backwards else {"page[after]": "1"}
    if not backwards:
        whole = [item for item in whole if item["id"] != "1"]
    link: str | None = f"/v1/sessions?{urlencode({**question, 'page[size]': size, **start})}"
    seen: list[dict[str, Any]] = []
    while link is not None:
        document = ask(walker, link)
        page = plain(document)
        assert [item["meta"]["page"]["cursor"] for item in document["data"]] == [
            item["id"] for item in page
        ]
        seen = [*page, *seen] if backwards else [*seen, *page]
        link = document["links"]["prev" if backwards else "next"]
        assert len(page) == size or link is None
    assert seen == whole


@FEW
@given(
    kind=st.sampled_from(["services", "sources"]),
    size=st.integers(1, 20),
    backwards=st.booleans(),
)
def test_small_collections_page_by_cursor_too(
    walker: httpx.Client, kind: str, size: int, backwards: bool
) -> None:
    whole = [item["id"] for item in ask(walker, f"/v1/{kind}")["data"]]
    start = {"page[before]": "\U0010ffff"} if backwards else {"page[after]": ""}
    link: str | None = f"/v1/{kind}?{urlencode({'page[size]': size, **start})}"
    seen: list[str] = []
    while link is not None:
        document = ask(walker, link)
        ids = [item["id"] for item in document["data"]]
        seen = [*ids, *seen] if backwards else [*seen, *ids]
        link = document["links"]["prev" if backwards else "next"]
    assert seen == whole


steps = st.lists(
    st.tuples(st.sets(st.integers(1, 60), max_size=8), st.sets(st.integers(1, 60), max_size=8)),
    max_size=6,
)


@settings(FEW, max_examples=times(6, 250))
@given(begin=st.sets(st.integers(1, 60)), steps=steps, size=st.integers(1, 12), back=st.booleans())
def test_pages_by_cursor_neither_repeat_nor_hide_what_stays(
    view: str, begin: set[int], steps: list[tuple[set[int], set[int]]], size: int, back: bool
) -> None:
    """Sessions come and go between two pages; the walk goes on in the same direction."""
    source = SourceConfig.parse(f"document:{DATA / 'sessions.json'}")

    async def test() -> None:
        config = CoreConfig(sources=(source,), grpc="127.0.0.1:0", ledger="sqlite://", grace=0.5)
        async with Core(config) as core, in_process(core.address, **VIEWS[view]) as http:
            await core.table.ready.wait()
            if view == "replica":
                await answering_from_its_copy(http)
            core.table.apply([*map(session, begin)], {1, 2, 3} - begin)
            live, left = set(begin), iter(steps)
            stayed, known = set(begin), set(begin)
            start = f"page[before]={2**64 - 1}" if back else "page[after]=1"
            link: str | None = f"/v1/sessions?page[size]={size}&{start}"
            seen: list[int] = []
            while link is not None:
                while await shown(http) != live:
                    pass
                document = (await http.get(link)).json()
                ids = [int(item["id"]) for item in document["data"]]
                assert set(ids) <= live
                seen += ids[::-1] if back else ids
                link = document["links"]["prev" if back else "next"]
                coming, going = next(left, (set(), set()))
                core.table.apply([*map(session, coming)], going - coming)
                live = (live - going) | coming
                stayed &= live
                known |= coming
            assert seen == sorted(set(seen), reverse=back), "in order, and nothing twice"
            assert stayed - (set() if back else {1}) <= set(seen) <= known

    asyncio.run(test())


async def answering_from_its_copy(http: httpx.AsyncClient) -> None:
    """Wait until a gateway answers from its copy; until then the core does, a moment ahead."""
    transport: Any = http._transport
    while transport.app.state.view.version() is None:
        await shown(http)


async def shown(http: httpx.AsyncClient) -> set[int]:
    """Return the ids of the plain list."""
    await asyncio.sleep(0)  # a replica answers without ever waiting
    document = (await http.get("/v1/sessions?fields[sessions]=")).json()
    return {int(item["id"]) for item in document["data"]}
