"""A ledger in PostgreSQL, with the documented commands, a real server and the real programs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.documents import write_document, write_users
from tests.polling import eventually
from tests.postgres import PASSWORD, Postgres, running_postgres
from tests.program import PATIENCE, Forked, run
from tests.servers import require
from tests.snippets import texts

PAGE = "docs/ledger.md"
ROLES, LOOK = texts(PAGE, "sql")
(SETTING,) = texts(PAGE, "toml")
COPY, DUMP = texts(PAGE, "sh")
(DROP,) = texts("docs/maintenance.md", "sql", "Uninstall")
FILE = "/etc/sessiongate/ledger.password"
CHOSEN = "choose one"
NAME = "sessiongate"  # of the database


class Ledger:
    """A database that was made as documented, and the file with its password."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        self.server = server
        self.password = folder / "ledger.password"
        self.password.write_text(CHOSEN)
        self.setting = self.placed(SETTING)

    @property
    def url(self) -> str:
        return self.setting.split('"')[1]

    def placed(self, text: str) -> str:
        """Return a documented text with this server's places."""
        place = f"127.0.0.1:{self.server.port}"
        return text.replace("db.example.com", place).replace(FILE, str(self.password))

    def execute(self, statements: str, database: str) -> list[object]:
        """Run statements as the superuser; return the rows of the last."""
        rows: list[object] = []
        with self.server.connect(dbname=database) as client:
            for statement in statements.split(";"):
                if statement.strip():
                    cursor = client.execute(statement.encode())
                    rows = [*cursor.fetchall()] if cursor.description else []
        return rows


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres(fsync="on") as server:
        yield server


@pytest.fixture
def ledger(server: Postgres, tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(server, tmp_path)
    first, second = ROLES.split("\\connect sessiongate")
    ledger.execute(first, "postgres")
    ledger.execute(second, NAME)
    yield ledger
    server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)", f"DROP ROLE IF EXISTS {NAME}")


def ids(serving: Forked) -> set[int]:
    answer = httpx.get(f"http://{serving.http}/v1/sessions", timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return {int(each["id"]) for each in answer.json()["data"]}


def unreachable(serving: Forked) -> dict[str, str]:
    """Return which sources are unreachable, and why."""
    answer = httpx.get(f"http://{serving.http}/v1/sources", timeout=PATIENCE).json()
    return {
        each["id"]: each["attributes"].get("last_error", "")
        for each in answer["data"]
        if each["attributes"]["state"] != "reachable"
    }


def test_the_documented_ledger_keeps_ids_while_its_server_fails(
    ledger: Ledger, tmp_path: Path
) -> None:
    document, config = tmp_path / "app.json", tmp_path / "sessiongate.toml"
    config.write_text(ledger.setting)
    checked = run("check-config", "--config", config)
    assert checked.returncode == 0, checked.stderr
    source = f"document:{document}?name=app&interval=0.2"
    arguments = ("--source", source, "--ledger", ledger.url)
    write_document(document, 3)
    with Forked(*arguments) as serving:
        assert "made the ledger's tables in the schema sessiongate" in serving.output
        first = ids(serving)
        assert len(first) == 3
        ledger.server.server.kill()
        write_document(document, 5)
        fault = eventually(lambda: unreachable(serving), lambda found: "app" in found)["app"]
        assert "the ledger (sessiongate at 127.0.0.1:" in fault
        assert CHOSEN not in fault
        assert ids(serving) == first, "known sessions stay"
        ledger.server.restart()
        more = eventually(lambda: ids(serving), lambda found: len(found) == 5)
        assert more > first
        assert ledger.execute(LOOK, NAME) == [("app", 5)]
    write_document(document, 6)
    with Forked(*arguments) as serving:
        assert ids(serving) > more
        one = httpx.get(f"http://{serving.http}/v1/history/sessions/{min(first)}", timeout=PATIENCE)
        assert one.status_code == 200
        assert CHOSEN not in serving.output
    ledger.execute(DROP, "postgres")
    left = "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles"
    assert "sessiongate" not in str(ledger.execute(left, "postgres"))


def test_a_file_is_copied_there_with_all_that_it_knows(ledger: Ledger, tmp_path: Path) -> None:
    document, path = tmp_path / "app.json", tmp_path / "ledger.db"
    source = ("--source", f"document:{document}?name=app")
    write_document(document, 4)
    with Forked(*source, "--ledger", f"sqlite:///{path}") as serving:
        first = ids(serving)
        write_document(document, 2)
        kept = eventually(lambda: ids(serving), lambda found: len(found) == 2)
        held = copied(ledger, path)
        assert held.returncode == 1
        assert "is in use by the core with process id" in held.stderr
    done = copied(ledger, path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "copied 8 of 8 rows")
    assert done.stdout == "copied 4 sessions; start the core with --ledger and that URL\n"
    again = copied(ledger, path)
    assert (again.returncode, "was already moved to" in again.stderr) == (1, True)
    moved = run("core", *source, "--ledger", f"sqlite:///{path}", "--grpc", "127.0.0.1:0")
    assert moved.returncode == 2
    assert "was moved to PostgreSQL, to sessiongate at 127.0.0.1:" in moved.stderr
    write_document(document, 3)
    with Forked(*source, "--ledger", ledger.url) as serving:
        now = ids(serving)
        assert now > kept
        assert not (now - kept) & first, "no id is given again"
        for ident in first - kept:
            place = f"http://{serving.http}/v1/history/sessions/{ident}"
            past = httpx.get(place, timeout=PATIENCE).json()
            assert past["data"]["attributes"]["end_reason"] == "closed"


def copied(ledger: Ledger, path: Path) -> subprocess.CompletedProcess[str]:
    """Run the documented command on a file."""
    words = ledger.placed(COPY).replace("'", "").split()
    return run(*words[1:-1], f"sqlite:///{path}")


def test_a_copy_that_was_interrupted_is_used_by_nobody_and_begun_again(
    ledger: Ledger, tmp_path: Path
) -> None:
    document, path = tmp_path / "app.json", tmp_path / "ledger.db"
    source = ("--source", f"document:{document}?name=app")
    write_document(document, 4)
    with Forked(*source, "--ledger", f"sqlite:///{path}") as serving:
        first = ids(serving)
    assert copied(ledger, path).returncode == 0
    # As if it had ended right before its last step.
    ledger.execute("INSERT INTO sessiongate.counters VALUES ('copying', 1)", NAME)
    refused = run("core", *source, "--ledger", ledger.url, "--grpc", "127.0.0.1:0")
    assert refused.returncode == 2
    assert "is a copy that is not complete: run sessiongate ledger copy again" in refused.stderr
    assert copied(ledger, path).returncode == 0
    with Forked(*source, "--ledger", ledger.url) as serving:
        assert ids(serving) == first


@pytest.mark.long
def test_a_dump_that_was_restored_gives_no_id_again(ledger: Ledger, tmp_path: Path) -> None:
    document = tmp_path / "app.json"
    arguments = ("--source", f"document:{document}?name=app", "--ledger", ledger.url)
    write_document(document, 2)
    with Forked(*arguments) as serving:
        first = ids(serving)
    dump = tmp_path / "sessiongate.dump"
    words = ledger.placed(DUMP).replace("=sessiongate.dump", f"={dump}").split()
    place, port = f"--host=127.0.0.1:{ledger.server.port}", f"--port={ledger.server.port}"
    dumped = [word for word in words[1:] if word != place]
    environment = {"PGPASSWORD": CHOSEN, "PGHOST": "127.0.0.1", "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [require("pg_dump", "postgresql-client"), port, *dumped], env=environment, check=True
    )
    write_document(document, 4)
    with Forked(*arguments) as serving:
        given = ids(serving)
    ledger.execute("DROP SCHEMA sessiongate CASCADE", NAME)
    restore = require("pg_restore", "postgresql-client")
    subprocess.run(
        [restore, port, "--username=postgres", "--dbname=sessiongate", dump],
        env={**environment, "PGPASSWORD": PASSWORD},
        check=True,
    )
    write_document(document, 5)
    with Forked(*arguments) as serving:
        now = ids(serving)
        assert now & given == first
        assert "it may be older than the ids that were given" in serving.output


def test_sources_exchange_their_names_there_too(ledger: Ledger, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("one.json", "two.json")]
    for number, place in enumerate(places, 1):
        write_users(place, {1: number})

    def sources(*names: str) -> list[str]:
        named = [f"document:{place}?name={name}" for place, name in zip(places, names, strict=True)]
        return ["--ledger", ledger.url, *(word for one in named for word in ("--source", one))]

    def by_user(serving: Forked) -> dict[str, str]:
        answer = httpx.get(f"http://{serving.http}/v1/sessions", timeout=PATIENCE)
        return {each["attributes"]["user"]: each["id"] for each in answer.json()["data"]}

    def rename(*names: str) -> subprocess.CompletedProcess[str]:
        return run("ledger", "rename", *names, "--ledger", ledger.url)

    with Forked(*sources("pg-1", "orders")) as serving:
        before = by_user(serving)
    refused = run("core", *sources("orders", "pg-1"), "--grpc", "127.0.0.1:0")
    assert refused.returncode == 2
    assert "'sessiongate ledger rename orders pg-1'" in refused.stderr
    unknown = rename("pg-2", "x")
    assert unknown.returncode == 1
    assert "has no source 'pg-2'; did you mean 'pg-1'?; its sources: orders, pg-1" in unknown.stderr
    noted = "SELECT array_agg(source ORDER BY source) FROM sessiongate."
    note = "INSERT INTO sessiongate.suspects VALUES ('orders', 2, now());"
    ledger.execute(
        f"{note} INSERT INTO sessiongate.first_reads VALUES ('orders', 'core-a', now())", NAME
    )
    assert rename("orders", "pg-1").returncode == 0
    for table in ("suspects", "first_reads"):
        assert ledger.execute(noted + table, NAME) == [(["pg-1"],)]
        ledger.execute(f"DELETE FROM sessiongate.{table}", NAME)
    with Forked(*sources("orders", "pg-1")) as serving:
        assert by_user(serving) == before


def test_a_password_on_the_command_line_is_refused(tmp_path: Path) -> None:
    refused = run("core", "--ledger", "postgresql://app:secret@127.0.0.1/x", "--source", "host:")
    assert refused.returncode == 2
    assert "every user of this machine can read a password" in refused.stderr
    copy = run(
        *("ledger", "copy", "postgresql://app:secret@127.0.0.1/x"),
        *("--ledger", f"sqlite:///{tmp_path}/ledger.db"),
    )
    assert copy.returncode == 1
    assert "every user of this machine can read a password" in copy.stderr
    assert "secret" not in refused.stderr + copy.stderr
