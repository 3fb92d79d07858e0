"""How many sessions have the same values: `list --by`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from sessiongate.v1 import session_pb2
from tests.doing import Shown, showing, stated
from tests.invoking import run_here


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    active, idle = session_pb2.ACTIVITY_STATE_ACTIVE, session_pb2.ACTIVITY_STATE_IDLE
    sessions = [
        stated("1", active, user="alice", application="=etl", remote="10.0.0.1"),
        stated("2", idle, user="alice", application="=etl", remote="::ffff:10.0.0.1"),
        stated("3", idle, user="bob\x1b", remote="10.0.0.2"),
        stated("4", user="alice", application="psql", database="orders"),
    ]
    with showing({"pg": sessions}) as core:
        yield core


@pytest.mark.parametrize(
    ("flags", "rows"),
    [
        ("--by user", [["User", "Sessions"], ["alice", "3"], ["bob\ufffd", "1"]]),
        ("--by user,application --user alice",
         [["User", "Application", "Sessions"], ["alice", "=etl", "2"], ["alice", "psql", "1"]]),
        ("--by activity --database orders", [["Activity", "Sessions"], ["1"]]),
        ("--by activity --remote 10.0.0.0/8",
         [["Activity", "Sessions"], ["idle", "2"], ["active", "1"]]),
        ("--by state", [["State", "Sessions"], ["Session", "started", "4"]]),
        ("--by remote --activity idle --activity active",
         [["Address", "Sessions"], ["10.0.0.1", "2"], ["10.0.0.2", "1"]]),
    ],
)  # fmt: skip
def test_the_largest_groups_come_first(shown: Shown, flags: str, rows: list[list[str]]) -> None:
    counted = run_here("list", "--core", shown.address, *shlex.split(flags))
    assert (counted.returncode, counted.stderr) == (0, "")
    assert [line.split() for line in counted.stdout.splitlines()] == rows


def test_a_limit_says_what_there_is_beyond_it(shown: Shown) -> None:
    counted = run_here("list", "--core", shown.address, "--by", "user", "--limit", "1")
    assert len(counted.stdout.splitlines()) == 2
    assert counted.stderr == "1 of 2 groups; 4 sessions in all\n"


def test_counts_are_printed_as_csv(shown: Shown) -> None:
    counted = run_here("list", "--core", shown.address, "--by", "application,database", "-o", "csv")
    assert counted.stdout == "application,database,count\n'=etl,,2\npsql,orders,1\n,,1\n"
    nobody = run_here("list", "--core", shown.address, "--by", "user", "--user", "nobody")
    assert (nobody.stdout, nobody.stderr) == ("", "no sessions\n")


def test_documents_have_rest_s_resource_objects(shown: Shown) -> None:
    flags = ("list", "--core", shown.address, "--by", "database,user", "-o")
    document = json.loads(run_here(*flags, "json").stdout)
    assert document["links"] == {"self": "http://localhost:8989/v1/counts/?by=database%2Cuser"}
    assert document["data"][-1] == {
        "id": "*,bob%1B",
        "type": "counts",
        "attributes": {"database": None, "user": "bob\x1b", "count": 1},
    }
    lines = run_here(*flags, "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == document["data"]
    assert "\x1b" not in run_here(*flags, "yaml").stdout


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--by usr", "among service, source, user, application, database, remote, state, activity"),
        ("--by usr", "did you mean 'user'?"),
        ("--by user,user", "must be one to three different names"),
        ("--by user,state,source,remote", "must be one to three different names"),
        ("--by user --sort id", "--sort: is for sessions; --by prints the largest counts first"),
        ("--by user --columns id", "--columns: is for sessions"),
    ],
)
def test_what_cannot_be_counted_is_refused(flags: str, said: str) -> None:
    asked = run_here("list", *shlex.split(flags))
    assert (asked.returncode, asked.stdout) == (2, "")
    assert said in asked.stderr
