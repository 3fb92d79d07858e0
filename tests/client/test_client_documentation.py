"""docs/client.md: its programs run against a real core and print what they should."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessiongate.client import AsyncClient, Client
from tests.gateway.programs import running_core
from tests.polling import eventually
from tests.program import DOCUMENT as SOURCE
from tests.program import PATIENCE, environment
from tests.snippets import ROOT, texts

DOCUMENT = "docs/client.md"


@pytest.fixture(scope="module")
def core() -> Iterator[str]:
    with running_core(SOURCE) as address:
        yield address


def program(heading: str | None, core: str) -> str:
    """Return the first program below a heading, with the address of a running core."""
    moved = texts(DOCUMENT, "python", heading)[0].replace("127.0.0.1:50051", core)
    assert core in moved
    return moved


def test_the_first_program_lists_gets_and_finds_nothing(core: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program(None, core)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    listed, shown, missing = done.stdout.splitlines()
    assert listed == "3 CLI 2017-05-17 10:06:35"
    assert shown == "CLI"
    assert "999" in missing


def test_the_second_program_follows(core: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program("Follow the sessions", core)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(5)]
        finally:
            process.kill()
    assert lines[:3] == ["+ 1\n", "+ 2\n", "+ 3\n"]
    assert lines[3:] == ["3 sessions, at most 0 s old\n"] * 2, "with the next mark"


def test_the_programs_are_typed(tmp_path: Path) -> None:
    """As a microservice's own mypy sees them; what it has found out about libraries is kept."""
    files = []
    for number, text in enumerate(texts(DOCUMENT, "python")):
        files.append(tmp_path / f"program{number}.py")
        files[-1].write_text(text)
    cache = Path(sys.prefix) / "mypy-of-programs"
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", cache, *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (len(files), checked.returncode) == (4, 0), checked.stdout + checked.stderr


def test_the_program_for_several_cores_finds_one(core: str) -> None:
    (text,) = texts(DOCUMENT, "python", "Several cores")
    for number, address in ((1, "127.0.0.1:1"), (2, core)):
        name = f"front-{number}.example:50051"
        assert name in text
        text = text.replace(name, address)
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_each_method_is_described() -> None:
    page = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    for client in (Client, AsyncClient):
        methods = {name for name in vars(client) if not name.startswith("_")}
        assert [name for name in methods if f"| `{name}(" not in page] == []


def test_the_third_program_looks_back(core: str) -> None:
    def run() -> str:
        return subprocess.run(
            [sys.executable, "-c", program("Past sessions", core)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout

    # At first, the core has not run for a second.
    assert eventually(run, lambda printed: "not all" not in printed) == (
        f"3  False\nevery 5 minutes:{13 * ' 3'} \n"
    )
