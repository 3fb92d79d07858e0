"""The command's output."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.tables import print_gaps
from tests.program import COMMAND, DOCUMENT, Forked, Serving, environment, run, run_into


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    sources = ("--source", DOCUMENT, "--source", "document:/nowhere.json?name=gone")
    with Forked(*sources) as program:
        yield program


def test_the_list_is_a_table_and_names_what_could_not_be_read(served: Serving) -> None:
    listed = run("list", "--core", served.grpc)
    header, first, *others = [line.rstrip() for line in listed.stdout.splitlines()]
    assert header.split() == [
        "ID", "Service", "Source", "State", "Connected"
    ]  # fmt: skip
    assert first.split("  ")[0].strip() == "1"
    assert first.index("Listener Session") == header.index("State")
    assert first.index("RW-Split-Router") == header.index("Service")
    assert first.index("2017-05-17 10:06:35Z") == header.index("Connected")
    assert first.index("sessions.json") == header.index("Source")
    assert len(others) == 2
    assert listed.stderr.startswith("unreachable: gone ")
    assert listed.returncode == 0


def test_gaps_command_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_gaps(Gaps(("a\x1b[2J",), ("b\x1b",)))
    unreachable, partial = capsys.readouterr().err.splitlines()
    assert unreachable.startswith("unreachable: a\ufffd[2J ")
    assert partial.startswith("partial: b\ufffd ")


def test_a_session_that_is_not_there_is_an_error(served: Serving) -> None:
    shown = run("show", "77", "--core", served.grpc)
    assert (shown.stdout, shown.returncode) == ("", 1)
    assert "77" in shown.stderr


@pytest.mark.parametrize("arguments", [("list",), ("show", "1")])
def test_where_no_core_answers_the_command_says_how_to_start_one(
    arguments: tuple[str, ...],
) -> None:
    # Port 1 of loopback is privileged and refused at once.
    asked = run(*arguments, "--core", "127.0.0.1:1")
    assert (asked.stdout, asked.returncode) == ("", 1)
    assert asked.stderr == (
        "sessiongate: no core responds at 127.0.0.1:1; `sessiongate serve` starts one\n"
    )


def test_serve_says_what_it_reads_and_how_to_ask_it(served: Serving) -> None:
    port = served.http.rpartition(":")[2]
    printed = [line for line in served.output.splitlines() if not line.startswith("{")]  # the log
    assert printed == [
        f"Sessiongate {version('sessiongate')}",
        f"  REST     http://{served.http}/v1/sessions",
        f"  gRPC     {served.grpc}",
        f"  Sources  {DOCUMENT}, gone (document:/nowhere.json)",
        f"  Try      curl 'http://localhost:{port}/v1/sessions?pretty=true'",
    ]


def test_the_version_is_the_distributions() -> None:
    printed = run("--version")
    assert (printed.stdout, printed.returncode) == (f"sessiongate {version('sessiongate')}\n", 0)


def test_shells_can_complete_the_commands() -> None:
    script = run("--show-completion", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "Traceback" not in script.stderr
    completed = run(
        _SESSIONGATE_COMPLETE="complete_bash", COMP_WORDS="sessiongate s", COMP_CWORD="1"
    )
    assert completed.stdout.split() == ["serve", "show", "sources"]


@pytest.mark.parametrize("arguments", ["--help", "list", "show 1", "list --json", "list -o csv"])
def test_output_that_cannot_be_written_is_said_in_a_line(served: Serving, arguments: str) -> None:
    ended = run_into(Path("/dev/full"), *arguments.split(), SESSIONGATE_CORE=served.grpc)
    assert ended.returncode == 1
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("unreachable")]
    assert lines == ["sessiongate: the output cannot be written: No space left on device"]


@pytest.mark.parametrize("arguments", ["--help", "list"])
def test_a_reader_that_has_seen_enough_is_no_error(served: Serving, arguments: str) -> None:
    ended = subprocess.run(
        ["bash", "-c", f"{COMMAND} {arguments} | sleep 0; exit ${{PIPESTATUS[0]}}"],
        env=environment(SESSIONGATE_CORE=served.grpc),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert [line for line in ended.stderr.splitlines() if "unreachable" not in line] == []


def test_a_full_disk_elsewhere_is_not_the_outputs() -> None:
    program = (
        "import errno\n"
        "from sessiongate.gateway.__main__ import main\n"
        "from sessiongate.gateway.cli import main as commands\n"
        "def app(**_): raise OSError(errno.ENOSPC, 'full', '/elsewhere')\n"
        "commands.app = app; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.stderr.endswith("full: '/elsewhere'\n")


def test_without_the_servers_needs_the_command_says_how_to_install_them() -> None:
    program = (
        "import sys; sys.modules['typer'] = None\n"
        "from sessiongate.gateway.__main__ import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "typer is not installed" in ended.stderr
    assert "pip install 'sessiongate[server]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_option_of_no_command_names_the_nearest() -> None:
    ended = run("--verison")
    assert ended.returncode == 2
    assert ended.stderr.endswith("No such option: --verison; did you mean '--version'?\n")
