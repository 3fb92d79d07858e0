"""The description of a gateway that may act, for programs and for people."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from sessiongate.gateway.api.action_operations import ACTIONS
from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.openapi.description import describe
from sessiongate.gateway.openapi.page import page
from tests.gateway.test_openapi import stumbling_blocks
from tests.gateway.test_reference_page import Page

BASE = "http://localhost:8989"


@cache
def closed() -> Any:
    """Describe a gateway that may not act."""
    return describe(OPERATIONS, BASE)


@cache
def description() -> Any:
    return describe((*OPERATIONS, *ACTIONS), BASE)


@cache
def shown() -> Page:
    return Page(page(description()))


def test_it_is_openapi_for_which_clients_can_be_made() -> None:
    import schemathesis  # late: see tests/gateway/described.py

    schemathesis.openapi.from_dict(description()).validate()
    assert stumbling_blocks(description()) == []


def test_nothing_else_is_described_in_another_way() -> None:
    paths = {name: {**found} for name, found in description()["paths"].items()}
    for operation in ACTIONS:
        del paths[operation.path][operation.method.lower()]
    del paths["/v1/sessions/{id}/cancel"]
    assert paths == closed()["paths"]
    added = {"Link", "Location"}
    parts = description()["components"]
    assert parts["headers"].keys() - closed()["components"]["headers"].keys() == added
    assert parts["schemas"] == closed()["components"]["schemas"]
    assert parts["responses"] == closed()["components"]["responses"]
    assert parts["headers"]["Allow"]["schema"]["enum"] == [
        *("GET, HEAD, DELETE, OPTIONS", "GET, HEAD, OPTIONS", "POST, OPTIONS")
    ]


def method_of(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = description()["paths"][operation.path][operation.method.lower()]
    return found


@pytest.mark.parametrize("operation", ACTIONS, ids=lambda found: found.name)
def test_what_acts_is_described_whole(operation: Operation) -> None:
    method = method_of(operation)
    statuses = {*method["responses"]}
    assert {
        str(n) for n in (202, 204, 400, 401, 403, 404, 409, 412, 413, 429, 501, 503)
    } <= statuses
    assert "200" not in statuses
    named = [found.get("name", found.get("$ref")) for found in method["parameters"]]
    assert "If-Match" in named or "#/components/parameters/If-Match" in named
    for parameter in method["parameters"]:
        if "schema" in parameter:
            Draft202012Validator(parameter["schema"]).validate(parameter["example"])
    codes = method["responses"]["403"]["x-codes"]
    assert {"OPERATOR_REQUIRED", "ACTION_NOT_ALLOWED", "OTHER_ORIGIN"} <= {*codes}
    assert ("NO_STATEMENT" in method["responses"]["409"]["x-codes"]) == (operation.method == "POST")


def test_the_page_has_it_and_leads_nowhere_wrong() -> None:
    for operation in ACTIONS:
        assert operation.name in shown().anchors
    assert len(shown().anchors) == len({*shown().anchors})
    inner = {link.removeprefix("#") for _, link in shown().links if link.startswith("#")}
    assert inner <= {*shown().anchors}
    commands = [text for text in shown().commands if "--request" in text]
    assert commands == [
        f"curl --request DELETE '{BASE}/v1/sessions/1'",
        "curl --request POST --header 'Content-Type: application/vnd.api+json'"
        f" '{BASE}/v1/sessions/1/cancel'",
    ]


def test_a_page_without_actions_does_not_speak_of_them() -> None:
    text = page(closed())
    for word in ("OPERATOR_REQUIRED", "TOO_MANY_ACTIONS", "terminateSession", "DELETE"):
        assert not re.search(word, text), word
