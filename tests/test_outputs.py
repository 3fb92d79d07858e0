"""The forms in which the command prints sessions: each says the same as the document."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from sessiongate.gateway.cli.yaml import yaml_text
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import BackendConnection
from tests.doing import Shown, showing, stated
from tests.invoking import run_here

ODD = "=cmd|'/c calc'!A0\x1b[2J\u202e\U000e0001 \"é山\" #: -"


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    sessions = [
        stated("1", session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION, user=ODD, remote="192.0.2.1",
               port=4711, application="+1", connection_attributes={"no": "off", "a: b": ODD},
               connections=[BackendConnection(server="db1"), BackendConnection(server="db2")]),
        stated("2", user="-", database="null", tls_cipher=""),
    ]  # fmt: skip
    with showing({"pg": sessions}) as core:
        yield core


def listed(core: Shown, *flags: str) -> str:
    """Return what a list with these flags prints, which no terminal obeys."""
    ended = run_here("list", "--core", core.address, *flags)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.replace("\n", "").isprintable()
    return ended.stdout


def test_yaml_and_lines_of_json_say_what_the_document_says(shown: Shown) -> None:
    document = json.loads(listed(shown, "--output", "json"))
    assert document["data"][0]["attributes"]["user"] == ODD
    assert yaml.safe_load(listed(shown, "-o", "yaml")) == document
    lines = listed(shown, "-o", "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == document["data"]
    assert json.loads(listed(shown, "--json")) == document


def test_no_sessions_are_an_empty_list(shown: Shown) -> None:
    nobody = ("--user", "nobody")
    document = json.loads(listed(shown, *nobody, "-o", "json"))
    assert document["data"] == []
    assert yaml.safe_load(listed(shown, *nobody, "-o", "yaml")) == document
    assert listed(shown, *nobody, "-o", "jsonl") == ""
    assert len(listed(shown, *nobody, "-o", "csv").splitlines()) == 1


def test_csv_has_the_same_columns_whatever_the_sessions_and_no_formulas(shown: Shown) -> None:
    first, second = csv.DictReader(listed(shown, "-o", "csv").splitlines())
    assert ",".join(first) == (
        "id,user,remote,port,database,application,activity.state,activity.since,service,source,"
        "state,connected,idle"
    )
    assert first["user"] == "'=cmd|'/c calc'!A0\ufffd[2J\ufffd\ufffd \"é山\" #: -"
    assert first["application"] == "'+1"
    assert (first["activity.state"], first["port"]) == ("idle in transaction", "4711")
    assert first["activity.since"] == first["connected"] == "2026-09-21T14:13:20.000Z"
    assert (second["user"], second["database"], second["port"]) == ("'-", "null", "")


def test_csv_has_the_columns_that_are_asked_for(shown: Shown) -> None:
    printed = listed(shown, "-o", "csv", "--columns", "connections,id", "--sort", "-id")
    assert printed == 'connections,id\n,2\n"db1, db2",1\n'


def test_a_wide_table_shows_more(shown: Shown) -> None:
    assert "Servers" in listed(shown, "-o", "wide").splitlines()[0]
    assert "Servers" not in listed(shown).splitlines()[0]


def test_show_and_sources_print_yaml(shown: Shown) -> None:
    for command in (("show", "1"), ("sources",)):
        as_yaml, as_json = (
            run_here(*command, "--core", shown.address, "-o", form).stdout
            for form in ("yaml", "json")
        )
        # The sources are read again and again.
        data = [yaml.safe_load(as_yaml)["data"], json.loads(as_json)["data"]]
        if command == ("sources",):
            data = [[each["id"] for each in found] for found in data]
        assert data[0] == data[1]


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"a": {}, "b": [], "c": [[1, [2]], {"d": [{"e": None}]}]},
        {"y": "y", "no": "1", "Key": True, "1": 1.5, "": "", "a b": "a\n\tb\\\"'\x00\x85\u2028"},
        ["~", "- x", "a: b", "#", "é\ufeff\U0001f600\U000e0001", -1, 12.5, False],
    ],
)
def test_yaml_is_read_as_what_was_written(value: Any) -> None:
    text = yaml_text(value)
    assert yaml.safe_load(text) == value
    assert text.replace("\n", "").isprintable()


def test_a_list_that_fails_at_once_prints_nothing() -> None:
    for form in ("csv", "json", "yaml", "jsonl"):
        asked = run_here("list", "--core", "127.0.0.1:1", "-o", form)
        assert (asked.returncode, asked.stdout) == (1, "")
