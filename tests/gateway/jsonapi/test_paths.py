"""Paths: how they are parsed, and which parts of a resource they may depend on."""

from __future__ import annotations

import pytest

from sessiongate.gateway.jsonapi.paths import MISSING, Path, PathError, id_number

RESOURCE = {"id": "7", "attributes": {"user": "app", "list": [{"a": 1}, {"a": 2}], "": {"~/": 3}}}


@pytest.mark.parametrize(
    ("name", "pointer"),
    [
        ("connected", "/attributes/connected"),
        ("client.cipher", "/attributes/client/cipher"),
        ("client/cipher", "/attributes/client/cipher"),
        ("client/a~1b", "/attributes/client/a~1b"),
        ("a~b", "/attributes/a~0b"),
        ("id", "/id"),
        ("type", "/type"),
        ("attributes.user", "/attributes/user"),
        ("attributes/user", "/attributes/user"),
        ("/attributes/user", "/attributes/user"),
        ("/user", "/user"),
        ("relationships.services.data.0.id", "/relationships/services/data/0/id"),
    ],
)
def test_names_of_fields(name: str, pointer: str) -> None:
    assert Path.of_name(name).pointer == pointer


@pytest.mark.parametrize("name", ["", ".", "a..b", "a.", "/", "//a", "a/", "/a~2", 300 * "a"])
def test_what_names_no_field(name: str) -> None:
    with pytest.raises(PathError):
        Path.of_name(name)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (Path.of_pointer("/attributes/user"), ["app"]),
        (Path.of_pointer("attributes/list/1/a"), [2]),
        (Path.of_pointer("attributes/list/-1/a"), []),
        (Path.of_pointer("attributes/list/01/a"), []),
        (Path.of_pointer("attributes//~0~1"), [3]),
        (Path.of_jsonpath("attributes.list[*].a"), [1, 2]),
        (Path.of_jsonpath("$.attributes.list[-2].a"), [1]),
        (Path.of_jsonpath("$.attributes.list[-3].a"), []),
        (Path.of_jsonpath("$.attributes.list['0'].a"), []),
        (Path.of_jsonpath("$.attributes.*[0,1].a"), [1, 2]),
        (Path.of_jsonpath("$..a"), [1, 2]),
        (Path.of_jsonpath("$"), [RESOURCE]),
    ],
)
def test_what_paths_lead_to(path: Path, values: list[object]) -> None:
    assert list(path.values(RESOURCE)) == values
    assert path.getter()(RESOURCE) == (values[0] if values else MISSING)


@pytest.mark.parametrize(
    ("path", "reads"),
    [
        ("attributes.idle", True),
        ("attributes", True),
        ("$", True),
        ("attributes.idle.more", True),
        ("attributes.*", True),
        ("$.*.idle", True),
        ("$..server", True),
        ("$[?@.x]", True),
        ("attributes.user", False),
        ("id", False),
        ("attributes.connections[*].idle", False),
        ("$.attributes[0]", False),
    ],
)
def test_whether_a_path_may_depend_on_a_field(path: str, reads: bool) -> None:
    assert Path.of_jsonpath(path).reads("/attributes/idle") is reads


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("18446744073709551615", 2**64 - 1),
        ("01", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("", None),
        ("1\n", None),
        ("٣", None),
        (5000 * "1", None),
    ],
)
def test_ids_that_are_numbers(text: str, number: int | None) -> None:
    assert id_number(text) == number
