"""One request shows a client through a real PgBouncer to a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.gateway.programs import client_of, running_core, running_gateway
from tests.postgres import PASSWORD, SUPERUSER, running_pgbouncer, running_postgres
from tests.program import run


@pytest.fixture(scope="module")
def tiers() -> Iterator[tuple[str, httpx.Client, int]]:
    """Yield a core that reads both, a client of its gateway, and the backend's process id.

    An application called ``till 7`` is in a transaction, through PgBouncer to PostgreSQL.
    """
    with (
        running_postgres() as postgres,
        running_pgbouncer(postgres, {SUPERUSER: PASSWORD}) as pool,
        pool.connect(application_name="till 7") as till,
    ):
        till.execute("BEGIN")
        row = till.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        login = f"{SUPERUSER}:{quote(PASSWORD)}@127.0.0.1"
        with (
            running_core(
                f"pgbouncer://{login}:{pool.port}?name=pool",
                f"postgresql://{login}:{postgres.port}?name=server",
            ) as core,
            running_gateway(core) as gateway,
            client_of(gateway) as http,
        ):
            yield core, http, row[0]


def linked(http: httpx.Client) -> dict[str, Any]:
    """Return the document of the till's session and what is upstream, once both are seen."""
    parameters = {"filter[$.attributes.source]": 'eq("pool")', "include": "upstream"}
    while True:
        document: dict[str, Any] = http.get("/v1/sessions", params=parameters).json()
        if document["data"] and "upstream" in document["data"][0]["relationships"]:
            return document


def test_include_shows_the_client_through_the_proxy_to_the_server(
    tiers: tuple[str, httpx.Client, int],
) -> None:
    _, http, pid = tiers
    document = linked(http)
    [through] = document["data"]
    [there] = document["included"]
    assert through["attributes"]["application"] == "till 7"
    assert through["attributes"]["connections"][0]["connection_id"] == pid
    assert through["relationships"]["upstream"]["data"] == [{"id": there["id"], "type": "sessions"}]
    assert there["attributes"]["source"] == "server"
    assert there["attributes"]["native_id"] == str(pid)
    back = there["relationships"]["downstream"]["data"]
    assert back == [{"id": through["id"], "type": "sessions"}]


def test_the_other_end_leads_back(tiers: tuple[str, httpx.Client, int]) -> None:
    core, http, _ = tiers
    [there] = linked(http)["included"]
    path = f"/v1/sessions/{there['id']}"
    [included] = http.get(path, params={"include": "downstream"}).json()["included"]
    assert included["attributes"]["application"] == "till 7"
    shown = run("show", there["id"], "--core", core).stdout.splitlines()
    chain = [line.split()[1] for line in shown[shown.index("Chain") + 2 :]]
    assert chain[:2] == [included["id"], there["id"]]


def test_history_leads_from_tier_to_tier(tiers: tuple[str, httpx.Client, int]) -> None:
    _, http, _ = tiers
    [through] = linked(http)["data"]
    ident = through["id"]
    path = f"/v1/history/sessions/{ident}"
    for _ in range(2):  # to the server, and back
        upstream = next_tier(http, path, "upstream")
        assert upstream["attributes"]["source"] == "server"
        downstream = next_tier(http, upstream["links"]["self"], "downstream")
        assert downstream["id"] == ident
        path = downstream["links"]["self"]


def next_tier(http: httpx.Client, path: str, name: str) -> Any:
    """Return the session of the past that another leads to."""
    relationship = http.get(path_of(path)).json()["data"]["relationships"][name]
    [found] = http.get(path_of(relationship["links"]["related"])).json()["data"]
    assert relationship["data"] == [{"id": found["id"], "type": "sessions"}]
    return found


def path_of(link: str) -> str:
    return link.removeprefix("http://localhost:8989")
