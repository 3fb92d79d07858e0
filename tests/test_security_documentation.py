"""docs/security.md, followed step by step."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessiongate.runtime.auth import htpasswd, throttle, tokens
from sessiongate.runtime.auth.identity import Refusal
from tests.program import DATA, ForkedProgram, output_of
from tests.snippets import examples, texts

DOCUMENT = (Path(__file__).parent.parent / "docs" / "security.md").read_text(encoding="utf-8")
SOURCE = ("--source", f"document:{DATA / 'sessions.json'}", "--ledger", "sqlite://")


def blocks(language: str) -> list[str]:
    return texts("docs/security.md", language)


class Followed:
    """A folder in which the steps were done, and the program that runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: dict[str, str] = {}

    def run(self, command: list[str], given: str = "") -> str:
        return output_of([self.moved(part) for part in command], self.folder, given)

    def moved(self, text: str) -> str:
        """Return text with the ports that are used here."""
        return re.sub(r"(?<=:)\d+\b", lambda found: self.ports.get(found[0], found[0]), text)

    def starting(self, command: str) -> list[str]:
        """Return the arguments of a command that serves, on free ports and over known sessions."""
        free = re.sub(r"(?<=0\.0\.0\.0:)\d+", "0", self.moved(command).replace("\\\n", " "))
        arguments = shlex.split(free.replace("sessions.example:", "localhost:"))[1:]
        paths = {file.name: str(file) for file in self.folder.iterdir()}
        return [paths.get(argument, argument) for argument in arguments]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """Make everything that the page makes, and run the first program that it starts."""
    done = Followed(tmp_path_factory.mktemp("security"))
    starts = []
    for block in blocks("sh"):
        if block.startswith(("sessiongate serve", "sessiongate core")):
            starts.append(block)
        else:
            done.run(["bash", "-euc", block], given="open sesame\n")
    assert len(starts) == 3
    with ForkedProgram(*done.starting(starts[0]), *SOURCE) as program:
        done.ports["8989"] = program.expect(r"REST +https://\S+:(\d+)/v1/sessions$")[1]
        done.ports["50051"] = program.expect(r"gRPC +\S+:(\d+)$")[1]
        program.expect("Try")
        # The core may have started a moment ago: a 503 is retried.
        retry = ["--retry", "9", "--fail", "--user", "alice:open sesame", "--cacert", "ca.pem"]
        done.run(["curl", "--silent", *retry, "https://localhost:8989/v1/sessions"])
        yield done


def test_what_is_asked_is_answered_so(followed: Followed) -> None:
    shown = examples("docs/security.md")
    assert len(shown) == 3
    for command, output in shown:
        assert followed.run(shlex.split(command)).rstrip("\n") == output.rstrip("\n")


def test_the_client_in_python_works_as_it_stands(followed: Followed) -> None:
    (program,) = blocks("python")
    assert followed.run([sys.executable, "-c", program]) == "3 sessions\n"


def test_gateway_and_core_on_different_machines(followed: Followed) -> None:
    *_, core, gateway = (block for block in blocks("sh") if block.startswith("sessiongate "))
    with ForkedProgram(*followed.starting(core), *SOURCE) as far:
        followed.ports["50051"] = far.expect(r"listening on \S+:(\d+)")[1]
        with ForkedProgram(*followed.starting(gateway), "--http", "127.0.0.1:0") as near:
            url = near.expect(r"REST +(\S+)$")[1]
            answer = followed.run(["curl", "--silent", "--retry", "9", "--fail", url])
            assert [item["id"] for item in json.loads(answer)["data"]] == ["1", "2", "3"]


def test_every_refusal_is_told() -> None:
    table = DOCUMENT.partition("## What a refusal says")[2].partition("\n## ")[0]
    assert {f"`{kind.reason}`" for kind in Refusal.__subclasses__()} <= set(
        re.findall(r"`[A-Z_]+`", table)
    )


def test_the_numbers_are_the_programs_own() -> None:
    text = " ".join(DOCUMENT.split())
    for said in (
        f"at most {htpasswd.MAX_PASSWORD} bytes",
        f"sent {throttle.BURST} wrong passwords may send one more every {throttle.REFILL:.0f} sec",
        f"differ by {tokens.LEEWAY} seconds",
        f"{tokens.MIN_RSA} bits or more",
        f"{tokens.MIN_SECRET} bytes or more",
    ):
        assert said in text
