"""Shells' completions, in the words of the core that is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sessiongate.v1 import session_pb2
from tests.doing import Shown, showing, stated
from tests.gateway.scripted import ScriptedCore, listening
from tests.program import run


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    sessions = [
        stated("17", session_pb2.ACTIVITY_STATE_IDLE, user="alice", application="month end"),
        stated("18", user="albert", database="orders", service="ro"),
        stated("20", user="al\x1b[2J"),
    ]
    with showing({"pg": sessions, "pool": []}) as core:
        yield core


def completed(line: str, shell: str = "bash") -> list[str]:
    """Return how a shell can complete the last word of a command line."""
    words = line.split(" ")
    asked = run(
        _SESSIONGATE_COMPLETE=f"complete_{shell}",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
        _TYPER_COMPLETE_ARGS=line,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    return asked.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("list --core {core} --user al", ["albert", "alice"]),
        ("list --core {core} --source p", ["pg", "pool"]),
        ("watch --core {core} --service ", ["app", "ro"]),
        ("list --core {core} --database o", ["orders"]),
        ("list --core {core} --application m", ["month\\ end"]),
        ("show --core {core} 1", ["17", "18"]),
        ("list --activity i", ["idle", "idle\\ in\\ transaction",
                               "idle\\ in\\ transaction\\ \\(aborted\\)"]),
        ("list --columns id,activity.s", ["id,activity.since", "id,activity.state"]),
        ("list --sort user,-act", None),
        ("list --by user,so", ["user,source"]),
        ("history --core {core} 1", ["17", "18"]),
        ("history --core {core} --user al", ["albert", "alice"]),
        ("history --sort id,-ended", ["id,-ended", "id,-ended_by"]),
        ("history --columns id,act", []),
        ("list --core 127.0.0.1:1 --user a", []),
    ],
)  # fmt: skip
def test_a_word_is_completed(shown: Shown, line: str, words: list[str] | None) -> None:
    found = completed(f"sessiongate {line.format(core=shown.address)}")
    if words is None:
        assert {each.partition(".")[0] for each in found} == {"user,-activity"}
    else:
        assert [word for word in found if word] == words


def test_other_shells_quote_themselves(shown: Shown) -> None:
    line = f"sessiongate list --core {shown.address} --application m"
    assert completed(line, "fish") == ["month end"]


def test_a_core_that_does_not_answer_completes_nothing() -> None:
    core = ScriptedCore()
    core.silent_from = 0
    with listening(core) as address:
        assert completed(f"sessiongate show --core {address} 1") in ([], [""])
    assert core.abandoned.is_set()
