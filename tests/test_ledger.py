"""The ledger's file, with the documented commands and the real programs."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.faults.documents import write_document, write_users
from tests.polling import eventually
from tests.program import PATIENCE, Forked, Serving, run
from tests.snippets import texts

BACKUP, RESTORED, RENAME = texts("docs/operations.md", "sh", "The ledger's file")


def typed(block: str, ledger: str, copy: Path) -> Any:
    """Run a documented command on the test's ledger."""
    words = block.split()
    places = {"/var/backups/sessiongate.db": str(copy), words[-1]: ledger}
    return run(*(places.get(word, word) for word in words[1:]))


def ids(serving: Serving) -> set[int]:
    answer = httpx.get(f"http://{serving.http}/v1/sessions", timeout=PATIENCE)
    assert answer.status_code == 200
    return {int(each["id"]) for each in answer.json()["data"]}


def test_a_ledger_that_is_put_back_keeps_ids_and_gives_none_twice(tmp_path: Path) -> None:
    document, path, copy = (tmp_path / name for name in ("app.json", "ledger.db", "copy.db"))
    ledger = f"sqlite:///{path}"
    arguments = ("--source", f"document:{document}", "--ledger", ledger)
    write_document(document, 2)
    with Forked(*arguments) as serving:
        first = ids(serving)
        asked = typed(BACKUP, ledger, copy)
        assert (asked.returncode, asked.stdout) == (0, f"copied the ledger to {copy}\n")
        again = typed(BACKUP, ledger, copy)
        assert (again.returncode, "File exists" in again.stderr) == (1, True)
        held = typed(RESTORED, ledger, copy)
        assert held.returncode == 1
        assert "is in use by the core with process id" in held.stderr
    write_document(document, 5)
    with Forked(*arguments) as serving:
        given = ids(serving)
        assert given > first
    shutil.copy(copy, path)
    told = typed(RESTORED, ledger, copy)
    assert (told.returncode, told.stdout) == (
        0,
        "ids will continue from the clock at the next start\n",
    )
    write_document(document, 0)
    with Forked(*arguments) as serving:
        assert ids(serving) == set()
        assert "may be older than the assigned ids" in serving.output


def test_a_file_that_is_taken_away_is_noticed_and_no_id_given_twice(tmp_path: Path) -> None:
    document, path = tmp_path / "app.json", tmp_path / "ledger.db"
    write_document(document, 3)
    with Forked("--source", f"document:{document}", "--ledger", f"sqlite:///{path}") as serving:
        before = ids(serving)
        path.rename(tmp_path / "elsewhere.db")
        serving.expect("the ledger was removed, replaced or used by another core")
        serving.expect("the core listens on .* again")
        answer = eventually(
            lambda: httpx.get(f"http://{serving.http}/v1/sessions", timeout=PATIENCE),
            lambda answer: answer.status_code == 200 and answer.json()["data"],
        )
        after = {int(each["id"]) for each in answer.json()["data"]}
        assert len(after) == 3
        assert not after & before, "what these ids were is not known any more"


def test_sources_that_exchange_names_are_told_apart(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    places = [tmp_path / name for name in ("one.json", "two.json")]
    for number, place in enumerate(places, 1):
        write_users(place, {1: number})

    def sources(*names: str) -> list[str]:
        named = [f"document:{place}?name={name}" for place, name in zip(places, names, strict=True)]
        return ["--ledger", ledger, *(word for one in named for word in ("--source", one))]

    def by_user(serving: Serving) -> dict[str, str]:
        answer = httpx.get(f"http://{serving.http}/v1/sessions", timeout=PATIENCE)
        return {each["attributes"]["user"]: each["id"] for each in answer.json()["data"]}

    with Forked(*sources("pg-1", "orders")) as serving:
        before = by_user(serving)
    addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    refused = run("serve", *sources("orders", "pg-1"), *addresses)
    assert refused.returncode == 2
    assert "'sessiongate ledger rename orders pg-1'" in refused.stderr
    renamed = typed(RENAME, ledger, tmp_path)
    assert (renamed.returncode, renamed.stdout) == (0, "renamed pg-1 to orders\n")
    with Forked(*sources("orders", "pg-1")) as serving:
        assert by_user(serving) == before


def test_a_backup_of_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    for url, text in (
        (f"sqlite:///{tmp_path}/none.db", "no such file"),
        ("sqlite://", "is in memory"),
    ):
        asked = run("ledger", "backup", copy, "--ledger", url)
        assert (asked.returncode, asked.stdout) == (1, "")
        assert text in asked.stderr
    assert not copy.exists()


def test_what_is_no_name_and_no_ledger_is_refused_whole(tmp_path: Path) -> None:
    empty, path, copy = (tmp_path / name for name in ("empty.db", "ledger.db", "copy.db"))
    empty.touch()
    with sqlite3.connect(path) as connection:
        connection.executescript(LEDGER_0_1.format(listener="0.0.0.0:1"))
    connection.close()
    for name in ("", "x" * 256, os.fsdecode(b"\xff")):
        asked = run("ledger", "rename", "host", name, "--ledger", f"sqlite:///{path}")
        assert (asked.returncode, asked.stdout) == (1, "")
        assert asked.stderr == "sessiongate: a name must be UTF-8 and have 1 to 255 bytes\n"
    for arguments in (("backup", copy), ("rename", "a", "b")):
        asked = run("ledger", *arguments, "--ledger", f"sqlite:///{empty}")
        assert asked.returncode == 1
        assert "no such table: counters" in asked.stderr
    assert empty.stat().st_size == 0
    assert not copy.exists()
    asked = run("ledger", "rename", "host", "a\x1b[31m", "--ledger", f"sqlite:///{path}")
    assert asked.stdout == "renamed host to a\\x1b[31m\n"


# A ledger as version 0.1 left it, with a listener of this machine in it.
LEDGER_0_1 = """
create table counters (name varchar not null primary key, value bigint not null);
create table sources (name varchar not null primary key, incarnation double not null);
create table sessions (
    id bigint not null primary key, source varchar not null, key varchar not null,
    connect_time bigint not null, closed_time bigint
);
create index sessions_by_state on sessions (closed_time, source);
insert into counters values ('schema', 1), ('id', 42), ('revision', 1000000);
insert into sessions values (41, 'host', 'tcp4 {listener}', 1495015595000000000, null);
"""


def test_a_session_of_a_ledger_of_0_1_keeps_its_id_when_its_key_changes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "{}:{}".format(*listener.getsockname())
        connection = sqlite3.connect(path)
        connection.executescript(LEDGER_0_1.format(listener=address))
        connection.close()
        for _ in range(2):  # with the old form of its key, and with the new one
            with Forked("--source", "host:", "--ledger", f"sqlite:///{path}") as serving:
                assert 41 in ids(serving)
                answer = httpx.get(f"http://{serving.http}/v1/sessions/41", timeout=PATIENCE)
                attributes = answer.json()["data"]["attributes"]
                assert attributes["native_id"] == address
                assert attributes["connected"] == "Wed May 17 10:06:35 2017"
                assert min(ids(serving) - {41}, default=1 << 50) > 42, "in doubt: from the clock"
    with closing(sqlite3.connect(path)) as connection:
        tables = "select name from sqlite_schema where name like '%sessions' and type = 'table'"
        assert {*connection.execute(tables)} == {("open_sessions",), ("past_sessions",)}
