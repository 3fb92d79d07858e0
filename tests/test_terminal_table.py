"""A table of sessions: one line each, in the columns that say something."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rich.cells import cell_len

from sessiongate.gateway.cli.session_fields import SESSION_FIELDS, session_field, sort_by
from sessiongate.gateway.cli.terminal_table import LAYOUT, TerminalTable
from sessiongate.gateway.openapi.schemas import SCHEMAS
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Activity, ActivityState, Session
from tests.doing import Shown, showing, stated
from tests.program import run
from tests.terminal import Terminal, at_terminal

NOW = 1_000_000_000


def made(
    ident: int, doing: ActivityState | None = None, since: int = 0, **fields: object
) -> Session:
    """Make a session; its activity began ``since`` seconds before NOW."""
    fields = {"state": session_pb2.SESSION_STATE_STARTED, "service": "db", "source": "db", **fields}
    session = Session(id=ident, **fields)  # type: ignore[arg-type] # of names
    session.connect_time.FromSeconds(NOW - 100_000)
    if doing is not None:
        activity = Activity(state=doing, since_time=Timestamp(seconds=NOW - since))
        session.activity.CopyFrom(activity)
    return session


BUSY = made(
    1, session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION, 7500, user="alice", database="orders",
    application="checkout", remote="192.0.2.1", port=4711,
)  # fmt: skip


def heads(*sessions: Session, room: int | None = None, is_wide: bool = False) -> list[str]:
    """Return the titles of a table's columns."""
    titles = {field.title for field in SESSION_FIELDS.values()}
    head = TerminalTable(LAYOUT, room=room, is_wide=is_wide).lines(sessions, NOW)[0]
    words, found = head.split(), []
    while words:
        length = 2 if " ".join(words[:2]) in titles else 1
        found.append(" ".join(words[:length]))
        words = words[length:]
    return found


def test_a_column_says_something_new_or_is_left_out() -> None:
    assert heads(made(1)) == ["ID", "Service", "Connected"]
    assert heads(made(1), made(2, source="proxy")) == ["ID", "Service", "Source", "Connected"]
    assert "State" in heads(made(1), made(2, state=session_pb2.SESSION_STATE_READY))
    was_active = Timestamp(seconds=NOW - 5)
    assert "Idle" in heads(made(1, last_active_time=was_active))
    idle = made(1, session_pb2.ACTIVITY_STATE_IDLE, 5, last_active_time=was_active)
    assert heads(idle) == ["ID", "Activity", "For", "Service", "Connected"]


def test_a_session_is_a_line_of_80_cells_with_what_it_is_doing() -> None:
    wordy = made(
        20_000, session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION_ABORTED, 90, user="山田太郎、経理部",
        database="x" * 70, application="PostgreSQL JDBC Driver", remote="2001:db8::1", port=65535,
        service="another service",
    )  # fmt: skip
    lines = TerminalTable(LAYOUT, room=80).lines([BUSY, wordy], NOW)
    assert len(lines) == 3
    assert max(map(cell_len, lines)) <= 80
    assert "Activity" in lines[0]
    assert "idle in tra" in lines[1]
    assert "2h05m" in lines[1]
    assert "…" in lines[2]
    assert "192.0.2.1 " in lines[1]
    assert "checkout" in lines[1]
    (_, alone) = TerminalTable(LAYOUT, room=100).lines([BUSY], NOW)
    assert "192.0.2.1:4711" in alone
    assert "idle in transaction" in alone


def test_what_is_the_same_everywhere_gets_room_last() -> None:
    def shown(**fields: str) -> list[str]:
        other = made(2, user="b")
        for name, value in fields.items():
            setattr(other, name, value)
        return heads(made(1, user="a"), other, room=30)

    assert shown() == ["ID", "User", "Service"]
    assert shown(database="orders") == ["ID", "User", "Database", "Service"]
    assert shown(database="x" * 30) == ["ID", "User", "Database"]
    assert shown(source="proxy") == ["ID", "User", "Service", "Source"]
    assert shown(database="x", source="y", remote="::1") == ["ID", "User", "Address", "Database"]


@pytest.mark.parametrize("room", [1, 10, 20, 40, 60, 80, 120, 200])
def test_no_line_is_wider_than_its_terminal(room: int) -> None:
    lines = TerminalTable(LAYOUT, room=room).lines([BUSY, made(2, user="bob")], NOW)
    assert len(lines) == 3
    assert max(map(cell_len, lines)) <= max(room, 2)


def test_a_wide_terminal_is_used_and_a_wide_table_needs_none() -> None:
    assert len(heads(BUSY, room=200)) > len(heads(BUSY, room=60))
    assert "Transaction for" not in heads(BUSY, room=200)
    BUSY.activity.transaction_start_time.FromSeconds(NOW - 9000)
    assert "Transaction for" in heads(BUSY, is_wide=True)


def test_a_later_part_that_says_more_has_a_head_of_its_own() -> None:
    table = TerminalTable(LAYOUT)
    assert len(table.lines([made(1)], NOW)) == 2
    assert len(table.lines([made(2)], NOW)) == 1
    empty, head, line = table.lines([made(3, user="bob")], NOW)
    assert (empty, head.split()) == ("", ["ID", "User", "Service", "Connected"])
    assert "bob" in line
    assert len(table.lines([made(4)], NOW)) == 1
    assert table.lines([], NOW) == []


def test_names_are_those_of_rest_and_a_misspelt_one_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'application'"):
        session_field("aplication")
    with pytest.raises(ValueError, match="allowed: id, state, user, peer, remote"):
        session_field("xyz")
    shown = Session(connection_attributes={"_os": "Linux"})
    assert session_field("client.connection_attributes._os").cell(shown) == "Linux"
    attributes = SCHEMAS["SessionAttributes"]["properties"]
    ours = {"id", "peer", "service", "filters", "source", "upstream", "downstream"}
    assert {name.partition(".")[0] for name in SESSION_FIELDS} - ours <= {*attributes}


def test_durations_are_in_their_two_largest_units() -> None:
    since = session_field("activity.since")
    ages = {59: "59s", 3599: "59m59s", 7500: "2h05m", 356400: "4d03h", -5: "0s"}
    for age, text in ages.items():
        assert since.cell(made(1, session_pb2.ACTIVITY_STATE_IDLE, age), NOW) == text
    assert since.cell(BUSY) == "2001-09-08 23:41:40Z", "in a line that is read later"


def test_what_clients_choose_commands_no_terminal() -> None:
    odd = made(1, user="\x1b[31m[bold]x\r\n\u202e", application="\x9b2J", database="\t")
    (head, line) = TerminalTable(LAYOUT, room=200).lines([odd], NOW)
    assert (head + line).isprintable()
    assert "\ufffd[31m[bold]x\ufffd\ufffd\ufffd" in line


def test_characters_without_width_are_cut_too() -> None:
    (_, line) = TerminalTable(LAYOUT, room=80).lines([made(1, user="a" + "\u0301" * 10_000)], NOW)
    assert len(line) < 200


def test_sessions_are_sorted_by_several_attributes() -> None:
    sessions = [made(1, user="b"), made(2, user="a"), made(3), made(4, user="b")]
    assert [each.id for each in sort_by(sessions, ("user", "-id"), session_field)] == [2, 4, 1, 3]


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    good = [stated("1", session_pb2.ACTIVITY_STATE_ACTIVE, user="alice", application="etl")]
    with showing({"good": good, "bad": [stated("2", user="bob")]}) as core:
        core.sources["bad"] = "no route to host"
        while "unreachable: bad" not in run("list", "--core", core.address).stderr:
            pass
        yield core


def test_the_screen_leaves_the_terminal_as_it_was(shown: Shown) -> None:
    with Terminal("watch", "--core", shown.address) as terminal:
        terminal.expect("alice")
        terminal.send_signal(signal.SIGHUP)
        assert terminal.wait() == 0
        assert "\x1b[?1049l" in terminal.shown, "which shows what was there before the screen"
        assert terminal.attributes == terminal.attributes_before


def test_an_unreachable_source_is_red_and_named_below(shown: Shown) -> None:
    lines = at_terminal("list", "--core", shown.address).splitlines()
    head, good, bad, gap = lines
    assert head.startswith("\x1b[1m")
    assert "\x1b" not in good
    assert bad.startswith("\x1b[31m")
    assert gap.startswith("\x1b[31munreachable: bad")
    printed = at_terminal("sources", "--core", shown.address, COLUMNS="200")
    head, good, bad = printed.splitlines()
    assert head.startswith("\x1b[1mName")
    assert "\x1b" not in good
    assert bad.startswith("\x1b[31mbad")


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_there_is_no_colour_where_none_is_wanted(shown: Shown, variables: dict[str, str]) -> None:
    assert "\x1b" not in at_terminal("list", "--core", shown.address, **variables)


def test_columns_are_those_that_are_asked_for(shown: Shown) -> None:
    columns = "application,user,activity.state"
    listed = run("list", "--core", shown.address, "--columns", columns, "--sort", "-user,id")
    assert [line.split() for line in listed.stdout.splitlines()] == [
        ["Application", "User", "Activity"], ["bob"], ["etl", "alice", "active"]
    ]  # fmt: skip
    nothing = run("list", "--core", shown.address, "--user", "nobody")
    assert (nothing.stdout, nothing.stderr.splitlines()[0]) == ("", "no sessions")
