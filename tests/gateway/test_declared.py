"""Every member of a real answer is declared in its schema, for every operation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from jsonschema_rs import ValidationError

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.api.past_counts import MOMENTS, PAST_COUNTED_BY
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.jsonapi.negotiation import JSON
from tests.gateway.declared import check_declared
from tests.gateway.fleet import write_fleet
from tests.gateway.programs import client_of, running_core, running_gateway

# What exists of each kind, and what does not.
NAMED = {"sessions": ("3", "999"), "services": ("a/b", "none"), "sources": ("gone", "none")}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Open a client of a gateway whose answers have as many members as possible."""
    folder = tmp_path_factory.mktemp("declared")
    sources = (
        f"document:{write_fleet(folder / 'fleet.json')}",
        f"document:{folder / 'nowhere.json'}?name=gone",
        "synthetic:?sessions=3",
    )
    with (
        running_core(*sources) as core,
        running_gateway(core) as gateway,
        client_of(gateway) as client,
    ):
        yield client


def queries(operation: Operation) -> Iterator[dict[str, str]]:
    """Yield queries that together make every possible member appear."""
    takes = operation.takes
    if takes.by:
        for names in ("service,source,user", "application,database,remote", "state,activity"):
            yield {"by": names, "page[size]": "1", "page[number]": "1"}
        return
    yield {"pretty": "true"}
    if MOMENTS in takes.texts:
        yield from ({"by": name, "page[size]": "1"} for name in PAST_COUNTED_BY)
        return
    if takes.include:
        yield {"include": ",".join(takes.include)}
    if takes.collection:
        if takes.forward:
            yield {"page[size]": "1"}
            return
        yield {"page[size]": "1", "page[number]": "1"}
        yield {"page[size]": "1", "page[after]": "1"}


def wrong_queries(operation: Operation) -> Iterator[dict[str, str]]:
    yield {"none": "1"}
    if operation.takes.collection:
        yield {"page[size]": "100000"}
        yield {"page[after]": "1", "page[before]": "3"}
        yield {"page[after]": "1", "sort": "none"}


def path_of(operation: Operation, ident: str) -> str:
    return operation.path.replace("{id}", quote(ident, safe=""))


DOCUMENTS = [operation for operation in OPERATIONS if EVENT_STREAM not in operation.offers]


@pytest.mark.parametrize("operation", DOCUMENTS, ids=lambda found: found.name)
def test_every_member_of_an_answer_is_declared(operation: Operation, http: httpx.Client) -> None:
    known, unknown = NAMED[operation.kind] if operation.kind else ("", "")
    path = path_of(operation, known)
    for query in queries(operation):
        for offer in operation.offers[:2]:
            answer = http.get(path, params=query, headers={"Accept": offer})
            assert answer.status_code == 200
            if offer == JSON:
                assert answer.json()
    for query in wrong_queries(operation):
        assert http.get(path, params=query).status_code == 400
    if operation.kind:
        assert http.get(path_of(operation, unknown)).status_code == 404


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v1/", ["links"]),
        ("/v1/sessions/3", ["data", "attributes"]),
        ("/v1/sources/gone?pretty=true", ["data"]),
        ("/v1/sessions/999", ["errors", 0]),
        ("/nowhere", []),
    ],
)
def test_a_member_that_is_not_declared_is_noticed(
    path: str, place: list[Any], http: httpx.Client
) -> None:
    answer = http.get(path)
    document = answer.json()
    reduce(getitem, place, document)["new"] = 1
    changed = httpx.Response(
        answer.status_code,
        headers={"Content-Type": JSON},
        content=json.dumps(document),
        request=answer.request,
    )
    with pytest.raises(ValidationError, match="'new' was unexpected"):
        check_declared(changed)
