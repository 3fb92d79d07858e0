"""The output of `--help`: complete, for the command in question, and with an example."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import pytest
import typer
from typer.core import TyperGroup

from sessiongate.gateway.cli.main import app
from tests.program import run

ROOT = cast(TyperGroup, typer.main.get_command(app))
STARTING = {"serve", "core"}


def commands(group: TyperGroup, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command and group, by the words that name it."""
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = dict(commands(ROOT))


@cache
def helped(*path: str, flag: str = "--help") -> str:
    """Return a command's help at a terminal of 80 columns."""
    asked = run(*path, flag, COLUMNS="80")
    assert (asked.returncode, asked.stderr) == (0, "")
    return asked.stdout


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_whole_and_has_an_example(path: tuple[str, ...]) -> None:
    text = helped(*path)
    assert helped(*path, flag="-h") == text
    assert "..." not in text.replace("COMMAND [ARGS]...", "").replace("[ID]...", "")
    assert max(map(len, text.splitlines())) <= 80
    before = text.partition("\nOptions:")[0]
    assert before.index("  Example:\n") > before.index("\n\n")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_example_can_be_typed(path: tuple[str, ...]) -> None:
    examples = helped(*path).partition("Example:\n")[2].partition("\n\n")[0].splitlines()
    lines = [line.strip().partition("  ")[0] for line in examples]
    typed = [shlex.split(line.partition(" | ")[0]) for line in lines if line.startswith("sess")]
    assert typed
    for _, *words in typed:
        if "--help" in words:
            continue
        command = cast(Any, ROOT)
        context = ROOT.make_context("sessiongate", words[:1])
        while words and words[0] in getattr(command, "commands", {}):
            name, *words = words
            command = command.commands[name]
        command.make_context("example", words, parent=context)  # raises if anything is wrong


@pytest.mark.parametrize("path", [path for path in COMMANDS if path], ids=" ".join)
def test_help_speaks_of_its_command(path: tuple[str, ...]) -> None:
    options = helped(*path).partition("\nOptions:")[2]
    usual = {"fleet", "list", "show", "sources"}
    others = {name for name in ROOT.commands if name not in path} - usual
    words = set(options.replace("`", " ").split()) - {"core"}
    if path not in {("serve",), ("check-config",)}:
        others.add("gateway's")
    assert not words & others
