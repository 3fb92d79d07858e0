"""The program does what docs/watch.md shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.reading import events_in
from tests.polling import eventually
from tests.program import BIN, DOCUMENT, PATIENCE, Forked, Serving, environment
from tests.snippets import texts

ROOT = Path(__file__).parent.parent
# A browser resolves URLs against the page's own; and this page is left after the first mark.
_PAGE = """\
const Stream = globalThis.EventSource;
globalThis.EventSource = class extends Stream {{
    constructor(url) {{
        super(new URL(url, "{url}"));
    }}
}};
{script}
on("sync", () => process.exit());
"""
TEXT = (ROOT / "docs" / "watch.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the code blocks in a language."""
    return texts("docs/watch.md", language)


def example(program: str) -> tuple[str, str]:
    """Return the command that runs a program, and the output shown below it."""
    (block,) = (block for block in blocks("console") if program in block.partition("\n")[0])
    command, _, output = block.removeprefix("$ ").partition("\n")
    return command, output


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with Forked("--source", DOCUMENT) as it:
        yield it


def run(command: str, served: Serving) -> str:
    """Return what a command of the page prints, on the default ports.

    It ends after some seconds, in which a loaded machine may have printed less.
    """
    port = served.http.rpartition(":")[2]
    done = subprocess.run(
        shlex.split(command.replace(":8989", f":{port}")),
        env=environment(PATH=f"{BIN}:/usr/bin:/bin", SESSIONGATE_CORE=served.grpc),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout.replace(f":{port}/", ":8989/")


def without_numbers(text: str) -> str:
    text = re.sub(r"\b[0-9]{15,20}\b", "REVISION", text)
    return re.sub(r"retry: [1-5][0-9]{3}\n", "retry: SOME\n", text)


@pytest.mark.long
def test_the_stream_is_as_it_stands(served: Serving) -> None:
    command, output = example("curl")
    wanted = without_numbers(output)
    eventually(lambda: without_numbers(run(command, served)), wanted.__eq__)


def test_the_page_in_a_browser_follows_the_sessions(served: Serving, tmp_path: Path) -> None:
    (script,) = blocks("js")
    page = tmp_path / "page.mjs"
    page.write_text(_PAGE.format(url=f"http://{served.http}/", script=script), encoding="utf-8")
    done = subprocess.run(
        [*browser(), page],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "3 sessions\n"), done.stderr


def browser() -> list[str]:
    """Return the command of a Node.js that has the browsers' EventSource; without one, skip.

    In CI that is a failure: nothing is skipped there. Debian's own may be too old for it.
    """
    command = ["node", "--no-warnings", "--experimental-eventsource"]
    if shutil.which("node"):
        tried = subprocess.run([*command, "--eval", ""], capture_output=True, check=False)
        if tried.returncode == 0:
            return command
    reason = "Node.js from 20.18 on is missing: it has an EventSource"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def test_each_event_of_the_stream_is_in_the_table(served: Serving) -> None:
    table = TEXT.partition("| Event | Data | Means |\n|---|---|---|\n")[2].partition("\n\n")[0]
    names = set(re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE))
    assert names == {"snapshot", "upsert", "remove", "sources", "sync", "lost", "end"}
    shown = events_in(example("curl")[1].splitlines())
    assert {event.name for event in shown} <= names


@pytest.mark.long
def test_the_lines_of_a_pipe_are_as_they_stand(served: Serving) -> None:
    command, output = example("sessiongate watch")
    eventually(lambda: run(command, served), output.__eq__)


def test_the_client_in_python_works_as_it_stands(served: Serving) -> None:
    (program,) = blocks("python")
    moved = program.replace("127.0.0.1:50051", served.grpc)
    assert moved != program
    with subprocess.Popen(
        [sys.executable, "-c", moved], env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "1 sessions\n"
            assert process.stdout.readline() == "1 sessions\n", "with the next mark"
        finally:
            process.kill()
