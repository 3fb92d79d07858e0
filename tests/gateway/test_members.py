"""MaxScale's members are known by name, whether or not a session of ours has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sessiongate.gateway.api.members import MEMBERS
from sessiongate.gateway.jsonapi.errors import RequestError
from sessiongate.gateway.jsonapi.fieldsets import Fieldset
from sessiongate.gateway.jsonapi.filters import Filter
from sessiongate.gateway.jsonapi.sorting import Sort
from tests.gateway.programs import DATA

RECORDED = {
    "sessions": ("sessions.json", "sessions_odd.json"),
    "services": ("services.json",),
}


def pointers(found: Any, before: str = "") -> Iterator[str]:
    """Yield the JSON Pointers to everything that a JSON value holds."""
    if isinstance(found, dict | list):
        for name, part in found.items() if isinstance(found, dict) else enumerate(found):
            here = f"{before}/{name}"
            yield here
            yield from pointers(part, here)


@pytest.mark.parametrize("kind", RECORDED)
def test_what_a_maxscale_answers_may_be_asked_for(kind: str) -> None:
    resources = [
        resource
        for name in RECORDED[kind]
        for resource in json.loads((DATA / "maxscale-24.02" / name).read_text())["data"]
    ]
    asked = {pointer for resource in resources for pointer in pointers(resource)}
    assert len(asked) > 50
    for pointer in sorted(asked):
        Filter.parse("filter", f"{pointer}=1", members=MEMBERS[kind])
        Sort.parse(pointer, MEMBERS[kind])
        _, part, *rest = pointer.split("/")
        if part in ("attributes", "relationships") and rest:
            Fieldset.parse(f"fields[{kind}]", "/".join(rest), MEMBERS[kind])


@pytest.mark.parametrize("name", ["seqno", "default_database", "log", "parameters.log_info"])
def test_what_a_maxscale_documents_may_be_asked_for(name: str) -> None:
    Sort.parse(name, MEMBERS["sessions"])


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        ("services", "ruoter", "router"),
        ("services", "staet", "state"),
        ("services", "roter_diagnostics", "router_diagnostics"),
        ("services", "total_conections", "total_connections"),
        ("sessions", "seqon", "seqno"),
        ("sessions", "paramters.log_info", "parameters.log_info"),
        ("sessions", "usr", "user"),
        ("sessions", "nativeId", "native_id"),
    ],
)
def test_the_nearest_of_all_known_names_is_suggested(kind: str, name: str, meant: str) -> None:
    with pytest.raises(RequestError, match=f"; did you mean '{meant}'"):
        Sort.parse(name, MEMBERS[kind])
    with pytest.raises(RequestError, match=f"; did you mean '{meant.replace('.', '/')}'"):
        Fieldset.parse(f"fields[{kind}]", name.replace(".", "/"), MEMBERS[kind])


@pytest.mark.parametrize(
    ("kind", "path", "meant"),
    [
        ("services", "$..ruoter", "$..router"),
        ("services", "$..seevices", "$..services"),  # as MaxScale documents it
        ("sessions", "$.attributes.*.ciper", "attributes[*].cipher"),
        ("sessions", "$.attributes.*.log_info", None),  # not in `parameters`, which no `*` enters
        ("sessions", "$.relationships..tpye", "$.relationships..type"),
        (
            "sessions",
            '$.attributes.connections[?@.servr == "x"].connection_id',
            "@.server",
        ),
    ],
)
def test_names_behind_a_wildcard_are_judged(kind: str, path: str, meant: str | None) -> None:
    with pytest.raises(RequestError) as raised:
        Filter.parse(f"filter[{path}]", "1", members=MEMBERS[kind])
    assert raised.value.errors[0].detail.endswith(f"; did you mean {meant!r}?") is bool(meant)


@pytest.mark.parametrize(
    "path",
    [
        "$..anything",  # may be a connection attribute
        "$.attributes.client.*.anything",
        "$.attributes.client..anything",
        "$..seqno",
        "$..cipher",
        "$.attributes.*.cipher",
        "$.attributes.parameters.*",
        "$.attributes.parameters..log_info",
        "$.attributes.connections[*].protocol_diagnostics.anything",
    ],
)
def test_names_behind_a_wildcard_may_be_free(path: str) -> None:
    Filter.parse(f"filter[{path}]", "1", members=MEMBERS["sessions"])


def test_names_are_those_of_the_kind() -> None:
    Sort.parse("client.connection_attributes._client_name", MEMBERS["sessions"])
    with pytest.raises(RequestError, match="'memory'; allowed are sources"):
        Sort.parse("memory", MEMBERS["services"])
    with pytest.raises(RequestError, match="'kinds'; did you mean 'kind'"):
        Sort.parse("kinds", MEMBERS["sources"])
