"""How the command lines up what it prints, and when."""

from __future__ import annotations

import json

import grpc
import pytest
from rich.cells import cell_len

from sessiongate.gateway.cli.columns import Columns
from tests.gateway.scripted import Failure, ScriptedCore, listening, page
from tests.invoking import run_here
from tests.program import ForkedProgram

ROWS = [
    ("1", "alice", "2001:db8::17", "a short one"),
    (
        "200",
        "山田太郎、経理部、第三課",
        "::1",
        "one with many more words than fit a narrow terminal",
    ),
]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    lines = Columns("ID", "User", "From", "Note", right=("ID",)).lines(ROWS)
    assert [cell_len(line[: line.index(where)]) for line, where in zip(
        lines, ("From", "2001", "::1"), strict=True
    )] == [31, 31, 31]  # fmt: skip
    assert [line[:3] for line in lines] == [" ID", "  1", "200"]
    assert not any(line.endswith(" ") for line in lines)


def test_a_later_part_makes_columns_wider_but_never_narrower() -> None:
    columns = Columns("A", "B")
    assert columns.lines([("12", "x")]) == ["A   B", "12  x"]
    assert columns.lines([("1234", "x")]) == ["1234  x"]
    assert columns.lines([("1", "x")]) == ["1     x"]
    assert columns.lines([]) == []


def test_in_a_narrow_terminal_no_line_is_too_wide_and_no_text_is_lost() -> None:
    for room in (1, 20, 30, 40, 60, 80, 200):
        lines = Columns("ID", "User", "From", "Note", room=room).lines(ROWS)
        if room >= 20:  # else there is less than a cell for each column
            assert max(map(cell_len, lines)) <= room
        for column in zip(*ROWS, strict=True):
            for cell in column:
                assert not {*cell} - {*"".join(lines)} - {" "}
    lines = Columns("ID", "Note", room=22).lines([("1", "two words fit, others do not")])
    assert lines == ["ID  Note", "1   two words fit,", "    others do not"]


def test_the_head_alone_is_marked() -> None:
    columns = Columns("A")
    assert columns.lines([("1",)], mark=str.lower) == ["a", "1"]
    assert columns.lines([("B",)], mark=str.lower) == ["B"]


def test_a_page_is_printed_before_the_next_one_arrives() -> None:
    core = ScriptedCore()
    core.pages, core.silent_from = [page(1, 2), page(3, 1)], 1
    with listening(core) as address:
        for options in ((), ("--json",)):
            with ForkedProgram("list", *options, "--core", address) as program:
                program.expect("2017")
                program.expect("2017")
                assert core.asked.wait(60), "the second page is asked for, and not answered"
                core.asked.clear()


def test_a_list_that_fails_midway_is_an_error() -> None:
    core = ScriptedCore()
    core.pages = [page(1, 2), Failure(grpc.StatusCode.INTERNAL)]
    with listening(core) as address:
        listed = run_here("list", "--core", address)
        assert (listed.returncode, len(listed.stdout.splitlines())) == (1, 3)
        assert listed.stderr == "sessiongate: the core failed to answer\n"
        listed = run_here("list", "--json", "--core", address)
        assert listed.returncode == 1
        with pytest.raises(json.JSONDecodeError):  # a part is not mistaken for the whole
            json.loads(listed.stdout)
