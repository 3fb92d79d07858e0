"""docs/terminal.md: its tables are the commands' own, and its commands print what it shows."""

from __future__ import annotations

import re
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import typer
from textual.binding import Binding
from typer.core import TyperGroup, TyperOption

from sessiongate.gateway.cli.main import app
from sessiongate.gateway.cli.screen.app import WatchApp
from sessiongate.gateway.cli.screen.grid import Grid
from sessiongate.v1.session_pb2 import (
    ACTIVITY_STATE_IDLE_IN_TRANSACTION,
    ACTIVITY_STATE_WAITING,
)
from tests.doing import showing, stated
from tests.polling import eventually
from tests.program import run
from tests.snippets import ROOT, examples, texts

# How the table writes keys.
KEYS = {
    **{name: name.capitalize() for name in ("up", "down", "home", "end", "enter", "space")},
    **{"pageup": "Page Up", "pagedown": "Page Down", "escape": "Escape", "slash": "/"},
    "ctrl+c": "Ctrl-C",
}
TEXT = Path(ROOT, "docs/terminal.md").read_text(encoding="utf-8")
ASKING = ("list", "show", "blockers", "terminate", "cancel", "history", "sources", "watch")
# What a command takes only to refuse it, with a reason.
REFUSED = {
    (command, flag)
    for command in ("history", "watch")
    for flag in ("--min-idle", "--min-activity-duration")
} | {("history", "--activity")}


def flags() -> list[str]:
    """Return the lines of the table of flags that are no settings, as the commands define them."""
    group = cast(TyperGroup, typer.main.get_command(app))
    options: dict[str, TyperOption] = {}  # by flag and help
    commands: dict[str, list[str]] = {}
    for name in ASKING:
        for option in group.commands[name].params:
            if isinstance(option, TyperOption) and not option.envvar:
                flag = max(option.opts, key=len)
                if (name, flag) not in REFUSED:
                    key = f"{flag} {option.help}"
                    options.setdefault(key, option)
                    commands.setdefault(key, []).append(f"`{name}`")
    return [
        f"| `{' '.join(filter(None, (max(option.opts, key=len), option.metavar)))}`"
        f" | {', '.join(commands[key])} | {option.help} |"
        for key, option in options.items()
    ]


def test_the_tables_of_flags_are_the_commands_own() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("| `--")]
    assert sorted(lines) == sorted(flags())


def test_the_screen_s_keys_are_in_the_table() -> None:
    _, _, rest = TEXT.partition("| Key | |\n|---|---|\n")
    shown = {key for row in rest.partition("\n\n")[0].splitlines() for key in named_keys(row)}
    bindings = [*WatchApp.BINDINGS, *Grid.BINDINGS]
    keys = {key for each in bindings if isinstance(each, Binding) for key in each.key.split(",")}
    assert shown == {KEYS.get(key, key) for key in keys - {"j", "k"}}


def test_the_past_is_as_it_stands() -> None:
    (at, listed), (one, shown) = examples("docs/terminal.md", "Who was connected")
    started = int(time.time())
    etl = stated("1", user="etl", application="nightly", remote="192.0.2.18", port=41300)
    alice = stated("2", user="alice", application="checkout", remote="192.0.2.17", port=50112)
    for each, ago in ((etl, 3600), (alice, 60)):
        each.session.service, each.session.database = "orders-rw", "orders"
        each.session.connect_time.FromSeconds(started - ago)
    with showing({"pg": [etl, alice]}) as core:

        def printed(command: str) -> str:
            asked = run(*shlex.split(command)[1:], SESSIONGATE_CORE=core.address, TZ="UTC")
            return masked(asked.stdout + asked.stderr)

        now = datetime.now(UTC).isoformat()  # when both were connected
        core.sources["pg"] = [etl]
        eventually(lambda: printed(one), lambda text: "closed" in text)
        assert printed(at.replace("14:05", now)) == masked(listed)
        assert printed(one) == masked(shown)


def masked(text: str) -> str:
    """Return a text without what depends on the time."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", text)
    return re.sub(r"(?<=\()\S+(?= ago)|(?<=lasted)( +)\S+", "DURATION", text)


def named_keys(row: str) -> list[str]:
    """Return the keys in the first cell of a row."""
    return [key.strip(" `") for key in row.strip("|").split(" | ")[0].split(",")]


def test_the_readme_s_questions_have_answers() -> None:
    idle = stated(
        "1", ACTIVITY_STATE_IDLE_IN_TRANSACTION, user="ann", application="etl", database="shop"
    )
    waiting = stated("2", ACTIVITY_STATE_WAITING, user="bob", blocked_by=["1"])
    [block] = texts("README.md", "sh", "What sessions are doing")
    with showing({"pg": [idle, waiting]}) as core:
        blockers, listed, counted = [
            run(*shlex.split(line)[1:], SESSIONGATE_CORE=core.address)
            for line in block.splitlines()
        ]
    assert "1  pg  app  ann  shop  etl  idle in transaction" in blockers.stdout
    assert "2  pg  app  bob  waiting" in blockers.stdout
    assert [line.split()[:2] for line in listed.stdout.splitlines()[1:]] == [["1", "ann"]]
    assert [line.split() for line in counted.stdout.splitlines()[1:]] == [
        ["ann", "etl", "1"],
        ["bob", "1"],
    ]
    assert not blockers.stderr + listed.stderr + counted.stderr
