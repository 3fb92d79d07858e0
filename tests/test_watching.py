"""The commands that show how sources are, and how sessions come and go."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.programs import running_core
from tests.program import Forked, ForkedProgram, Serving, run
from tests.recorded import show
from tests.terminal import Terminal


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "sessions.json"
    show(file, 1, 2)
    return file


@pytest.fixture
def sources(file: Path) -> tuple[str, str]:
    return f"document:{file}?interval=0.1", "document:/nowhere.json?name=gone"


@pytest.fixture
def core(sources: tuple[str, str]) -> Iterator[str]:
    with running_core(*sources) as address:
        yield address


@pytest.fixture
def served(sources: tuple[str, str], tmp_path: Path) -> Iterator[Serving]:
    one, other = sources
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Forked("--source", one, "--source", other, "--ledger", ledger) as program:
        yield program


def test_sources_are_a_table_and_say_why_they_fail(core: str) -> None:
    listed = run("sources", "--core", core)
    assert (listed.stderr, listed.returncode) == ("", 0)
    header, good, bad = listed.stdout.splitlines()
    assert header.split() == [
        "Name", "Kind", "State", "Sessions", "Last", "success", "Took", "Last", "error"
    ]  # fmt: skip
    assert good.split()[:4] == ["sessions.json", "document", "reachable", "2"]
    assert good.index("document") == header.index("Kind") == bad.index("document")
    assert good.split()[-1].endswith("ms")
    assert bad.split()[:4] == ["gone", "document", "unreachable", "0"]
    assert "/nowhere.json" in bad[header.index("Last error") :]


def test_sources_as_json_are_the_document(served: Serving) -> None:
    printed = json.loads(run("sources", "--json", "--core", served.grpc).stdout)
    host = {"Host": "localhost:8989"}
    document = httpx.get(f"http://{served.http}/v1/sources", headers=host).json()
    assert printed["links"] == document["links"]
    assert [each["id"] for each in printed["data"]] == [each["id"] for each in document["data"]]
    assert printed["data"][0].keys() == document["data"][0].keys()


def test_a_pipe_gets_a_line_for_each_change_until_ctrl_c(core: str, file: Path) -> None:
    with ForkedProgram("watch", "--core", core) as watch:
        watch.expect("unreachable: gone ")
        fields = watch.expect(r"^\+\t1\t.*")[0].split("\t")
        assert fields == [
            "+", "1", "Listener Session", "", "", "RW-Split-Router", "2017-05-17 10:06:35Z",
            "sessions.json",
        ]  # fmt: skip
        watch.expect(r"^\+\t2\t")
        show(file, 2, state="Stopping session")
        watch.expect(r"^-\t1\t")
        watch.expect(r"^~\t2\tStopping session\t")
        watch.interrupt()
        assert watch.wait() == 0


def test_a_core_that_dies_is_said_to_be_lost_and_asked_again(served: Serving, file: Path) -> None:
    with ForkedProgram("watch", "--core", served.grpc) as watch:
        watch.expect(r"^\+\t2\t")
        served.core().kill()
        watch.expect("; asking again$")
        show(file, 2)
        watch.expect("the core answers again")
        watch.expect(r"^-\t1\t")  # what went meanwhile is reported too
        watch.interrupt()
        assert watch.wait() == 0
    assert watch.output.count("\t2\t") == 1 + watch.output.count("~\t2\t")


def test_a_terminal_gets_a_live_table(core: str, file: Path) -> None:
    arguments = ("watch", "--core", core, "--sort", "-id", "--limit", 1)
    with Terminal(*arguments, COLUMNS="140", LINES="20") as terminal:
        seen = terminal.expect("2 sessions", "unreachable: gone", "Read-Connection-Router")
        assert "RW-Split-Router" not in seen, "it is the second"
        show(file, 2, 3)
        terminal.expect("CLI")
        terminal.send_signal(signal.SIGINT)
        assert terminal.wait() == 0


def test_where_no_core_answers_nothing_is_watched() -> None:
    for command in ("watch", "sources"):
        asked = run(command, "--core", "127.0.0.1:1")
        assert (asked.stdout, asked.returncode) == ("", 1)
        assert "no core responds" in asked.stderr
