"""Which sessions `list` and `watch` show, and in which order."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessiongate.v1 import session_pb2
from tests.doing import Shown, showing, stated
from tests.gateway.scripted import ScriptedCore, listening, page
from tests.invoking import run_here
from tests.program import ForkedProgram, run


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    pg = [
        stated("1", session_pb2.ACTIVITY_STATE_ACTIVE, since=30, user="alice", database="orders",
               application="checkout", remote="10.1.2.3", service="rw"),
        stated("2", session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION, since=20, user="bob",
               database="orders", application="etl", remote="10.9.9.9", service="ro"),
        stated("3", session_pb2.ACTIVITY_STATE_IDLE, since=10, user="alice", database="billing",
               application="psql", remote="192.0.2.7", service="ro"),
    ]  # fmt: skip
    pool = [stated("4", user="carol", state=session_pb2.SESSION_STATE_READY)]
    with showing({"pg": pg, "pool": pool}) as core:
        yield core


def ids(core: Shown, flags: str) -> list[int]:
    """Return the ids that a list with these flags shows."""
    listed = run_here("list", "--core", core.address, *shlex.split(flags))
    assert listed.returncode == 0
    assert listed.stderr == ("" if listed.stdout else "no sessions\n")
    return [int(line.split()[0]) for line in listed.stdout.splitlines()[1:]]


@pytest.mark.parametrize(
    ("flags", "listed"),
    [
        ("--user alice", [1, 3]),
        ("--user alice --user carol", [1, 3, 4]),
        ("--application etl", [2]),
        ("--database orders --user bob", [2]),
        ("--service ro", [2, 3]),
        ("--source pool", [4]),
        ("--remote 10.0.0.0/8", [1, 2]),
        ("--remote 192.0.2.7 --remote 10.1.2.3", [1, 3]),
        ("--state 'Session Ready'", [4]),
        ("--activity 'idle in transaction' --activity active", [1, 2]),
        ("--min-activity-duration 1s", [1, 2, 3]),
        ("--min-activity-duration 9000d", []),
        ("--user nobody", []),
        ("--limit 2", [1, 2]),
        ("--sort -id", [4, 3, 2, 1]),
        ("--sort activity.since --limit 3", [3, 2, 1]),
        ("--sort -activity.since", [4, 1, 2, 3]),
    ],
)
def test_flags_choose_sessions_and_their_order(shown: Shown, flags: str, listed: list[int]) -> None:
    assert ids(shown, flags) == listed


@pytest.mark.parametrize("command", ["list", "list --by user", "blockers", "watch"])
def test_a_source_that_does_not_exist_is_an_error(shown: Shown, command: str) -> None:
    misspelt = run_here(
        *command.split(), "--source", "pg", "--source", "pol", "--core", shown.address
    )
    assert (misspelt.returncode, misspelt.stdout) == (2, "")
    assert misspelt.stderr == "sessiongate: there is no source 'pol'; did you mean 'pool'?\n"
    unlike = run_here(*command.split(), "--source", "haproxy", "--core", shown.address)
    assert unlike.stderr == "sessiongate: there is no source 'haproxy'; sources: pg, pool\n"


def test_a_core_of_many_sources_names_none_of_them() -> None:
    with showing({f"database-{number}": [] for number in range(21)}) as core:
        unlike = run_here("list", "--source", "pg", "--core", core.address)
    assert unlike.stderr == (
        "sessiongate: there is no source 'pg'; `sessiongate sources` lists the 21 sources\n"
    )


def test_a_document_holds_only_what_is_chosen(shown: Shown) -> None:
    listed = run_here("list", "--json", "--user", "bob", "--core", shown.address)
    assert listed.stdout.count('"type": "sessions"') == 1


def test_a_flag_of_this_name_in_a_file_is_another_commands(shown: Shown, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'core = "{shown.address}"\nsource = ["host:"]\n')
    listed = run("list", "--config", file, SESSIONGATE_SOURCE="host:", SESSIONGATE_USER="alice")
    assert len(listed.stdout.splitlines()) == 5


def test_no_more_is_read_than_is_shown() -> None:
    core = ScriptedCore()
    core.pages, core.silent_from = [page(1, 2), page(3, 2), page(5, 2)], 2
    with listening(core) as address:
        listed = run_here("list", "--limit", "4", "--core", address)
    assert (listed.returncode, core.calls) == (0, 2)


def test_a_session_that_begins_to_match_is_new_to_who_watches() -> None:
    idle, active = (
        [stated("1", state, user="alice"), stated("2", user="bob")]
        for state in (session_pb2.ACTIVITY_STATE_IDLE, session_pb2.ACTIVITY_STATE_ACTIVE)
    )
    with showing({"pg": idle}) as core:
        flags = ("--activity", "active", "--user", "alice", "--columns", "id,user,activity.since")
        with ForkedProgram("watch", "--core", core.address, *flags, "--source", "pg") as watch:
            core.sources["pg"] = active
            watch.expect(r"^\+\t1\talice\t2026-09-21 14:13:20Z$")
            core.sources["pg"] = idle
            watch.expect(r"^-\t1\t")
            assert "\t2\t" not in watch.output


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("list --activity idel", "must be one of 'active', 'idle', 'idle in transaction',"),
        ("list --activity idel", "did you mean 'idle'?"),
        ("list --state 'session started'", "did you mean 'Session started'?"),
        ("list --remote 10.1.2.3/8", "did you mean '10.0.0.0/8'?"),
        (
            "list --min-idle 5x",
            "must be a duration of at most 10000d, such as 90, 90s, 5m, 2h or 1d, got '5x'",
        ),
        ("list --sort conected", "did you mean 'connected'?"),
        ("list --columns id,aplication", "--columns: no attribute is called 'aplication'; did"),
        ("list --columns id --output yaml", "--columns: is only for tables and CSV"),
        ("list --output ymal", "did you mean 'yaml'?"),
        ("show 1 --output csv", "must be one of table, json, yaml, got 'csv'"),
        ("watch --sort user", "--sort: is only for the table at a terminal"),
        ("list --limit 0", "must be an integer of at least 1"),
        ("list --usr alice", "did you mean '--user'?"),
        ("watch --min-idle 5m", "--min-idle: cannot be watched"),
        ("watch --min-activity-duration 5m", "use `sessiongate list`"),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_what_can(line: str, said: str) -> None:
    asked = run_here(*shlex.split(line))
    assert (asked.returncode, asked.stdout) == (2, "")
    assert said in asked.stderr
