"""`sessiongate history`: who was connected, over a real core whose ledger outlives it."""

from __future__ import annotations

import csv
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from rich.cells import cell_len

from sessiongate.v1.history_service_pb2 import (
    EndReason,
    GapReason,
    GetPastSessionRequest,
    GetPastSessionResponse,
    HistoryGap,
    ListPastSessionsRequest,
    ListPastSessionsResponse,
    PastSession,
)
from sessiongate.v1.history_service_pb2_grpc import (
    HistoryServiceServicer,
    add_HistoryServiceServicer_to_server,
)
from tests.gateway.scripted import Failure, ScriptedCore, listening, session
from tests.invoking import run_here
from tests.polling import eventually
from tests.program import Forked, ForkedProgram, run
from tests.terminal import at_terminal

ODD = "=x\x1b[2J\x1b]0;mine\x07\u202e\u9999" + "y" * 100
CONNECTED = time.asctime(time.gmtime(time.time() - 7200))


def show(file: Path, **users: int) -> None:
    """Make a document's sessions these: ids by their users."""
    data = [
        {
            "id": str(ident),
            "type": "sessions",
            "attributes": {
                "state": "Session started",
                "connected": CONNECTED,
                "user": ODD if user == "odd" else user,
                "remote": f"192.0.2.{ident}",
            },
            "relationships": {"services": {"data": [{"id": "orders-rw", "type": "services"}]}},
        }
        for user, ident in users.items()
    ]
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps({"data": data}))
    os.replace(beside, file)


@dataclass
class Past:
    """A running program whose sessions a test changes."""

    folder: Path
    flags: Sequence[str] = ()
    address: str = ""
    moments: dict[str, str] = field(default_factory=dict)

    def show(self, **users: int) -> None:
        show(self.folder / "sessions.json", **users)

    def listed(self, *flags: str, **variables: str) -> tuple[list[str], list[str]]:
        """Return the ids that a list has, and the lines on standard error."""
        listing = ("history", "--core", self.address, "-o", "jsonl", *flags)
        asked = run(*listing, **variables) if variables else run_here(*listing)
        assert asked.returncode == 0, asked.stderr
        return (
            [json.loads(line)["id"] for line in asked.stdout.splitlines()],
            asked.stderr.splitlines(),
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the block ends."""
        source = f"document:{self.folder}/sessions.json?name=orders&interval=0.1"
        ledger = f"sqlite:///{self.folder}/ledger.db"
        with Forked("--source", source, "--ledger", ledger, *self.flags) as program:
            self.address = program.grpc
            yield


def ended(past: Past, ident: int) -> bool:
    """Return whether a session has ended."""
    return "end_reason" in run_here("history", ident, "--core", past.address).stdout


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """Run it while alice and somebody with an odd name leave, and bob stays."""
    past = Past(tmp_path_factory.mktemp("past"))
    past.show(alice=11, odd=12, bob=13)
    with past.running():
        past.moments["all"] = datetime.now(UTC).isoformat()
        past.show(odd=12, bob=13)
        eventually(lambda: ended(past, 11))
        past.moments["two"] = datetime.now(UTC).isoformat()
        past.show(bob=13)
        eventually(lambda: ended(past, 12))
        yield past


def test_a_moment_has_those_who_were_connected_then(past: Past) -> None:
    assert past.listed("--at", past.moments["all"]) == (["11", "12", "13"], [])
    assert past.listed("--at", past.moments["two"]) == (["12", "13"], [])
    assert past.listed("--at", "0s")[0] == ["13"]
    assert past.listed("--at", past.moments["all"], "--user", "alice")[0] == ["11"]
    assert past.listed("--at", past.moments["all"], "--remote", "192.0.2.12/31")[0] == ["12", "13"]
    assert past.listed("--at", past.moments["all"], "--service", "other") == ([], [])


def test_a_time_has_those_who_were_connected_in_it(past: Past) -> None:
    ids, [gap] = past.listed()
    assert ids == ["11", "12", "13"], "those of the last hour"
    assert gap.startswith("before_history: orders from ")
    assert gap.endswith(" (not observed before)")
    assert past.listed("--since", past.moments["two"]) == (["12", "13"], [])
    assert past.listed("--since", "90m", "--until", past.moments["all"])[0] == ["11", "12", "13"]
    assert past.listed("--since", "3h", "--until", "150m")[0] == []


@pytest.mark.parametrize(
    ("sort", "ids"),
    [
        ("connected", ["11", "12", "13"]),
        ("-connected", ["13", "12", "11"]),
        ("ended", ["11", "12", "13"]),
        ("-ended", ["13", "12", "11"]),
        ("-user", ["13", "11", "12"]),
        ("end_reason,-id", ["12", "11", "13"]),
    ],
)
def test_lists_are_sorted_and_limited(past: Past, sort: str, ids: list[str]) -> None:
    assert past.listed("--sort", sort)[0] == ids
    assert past.listed("--sort", sort, "--limit", "2")[0] == ids[:2]


def test_each_form_says_the_same(past: Past) -> None:
    printed = {}
    for form in ("json", "yaml", "jsonl", "csv"):
        asked = run_here(
            "history", "--at", past.moments["all"], "--core", past.address, "-o", form
        )  # fmt: skip
        assert (asked.returncode, asked.stderr) == (0, "")
        assert asked.stdout.replace("\n", "").isprintable()
        printed[form] = asked.stdout
    document = json.loads(printed["json"])
    at = past.moments["all"].replace("+00:00", "Z").replace(":", "%3A")
    assert document["links"]["self"] == f"http://localhost:8989/v1/history/sessions/?at={at}"
    assert "meta" not in document
    assert yaml.safe_load(printed["yaml"]) == document
    assert [*map(json.loads, printed["jsonl"].splitlines())] == document["data"]
    rows = [*csv.DictReader(printed["csv"].splitlines())]
    for row, each in zip(rows, document["data"], strict=True):
        attributes = each["attributes"]
        assert row["id"] == each["id"]
        assert row["ended"] == attributes.get("ended", "")
        assert row["end_reason"] == attributes.get("end_reason", "")
        assert each["links"]["self"].endswith(f"/v1/history/sessions/{each['id']}")
    assert rows[1]["user"].startswith("'=x\ufffd[2J")
    first = json.loads(run_here("history", "--core", past.address, "--json", "--limit", "1").stdout)
    assert [gap["reason"] for gap in first["meta"]["gaps"]] == ["before_history"]


def test_sessions_are_counted(past: Past) -> None:
    asked = [
        run_here("history", "--at", past.moments[at], "--core", past.address, "--by", by, *flags)
        for at, by, flags in (
            ("two", "service,source", ()),
            ("all", "user", ("-o", "csv", "--limit", "1")),
            ("all", "user", ("--limit", "2")),
            ("all", "state,user", ("-o", "json")),
        )
    ]
    assert [each.returncode for each in asked] == [0] * 4
    assert [line.split() for line in asked[0].stdout.splitlines()] == [
        ["Service", "Source", "Sessions"],
        ["orders-rw", "orders", "2"],
    ]
    assert asked[0].stderr.startswith("2 sessions, connected at ")
    assert asked[1].stdout == "user,count\nalice,1\n"
    assert asked[2].stderr.startswith("2 of 3 groups; 3 sessions in all\n")
    document = json.loads(asked[3].stdout)
    assert document["data"][0]["attributes"] == {
        "state": "Session started",
        "user": "alice",
        "count": 1,
    }
    assert len(document["data"]) == 3


def test_one_session_is_shown_with_its_end(past: Past) -> None:
    asked = run_here("history", "11", "--core", past.address)
    rows = dict(line.split(maxsplit=1) for line in asked.stdout.splitlines())
    assert rows["user"] == "alice"
    assert rows["end_reason"] == "closed: its source no longer listed it"
    assert rows["ended"].endswith(" ago)")
    assert rows["lasted"].startswith("2h")
    asked = run_here("history", "13", "--core", past.address)
    assert "ended      not yet: it is still connected\n" in asked.stdout
    found = json.loads(run_here("history", "11", "--core", past.address, "--json").stdout)
    assert found["data"]["attributes"]["end_reason"] == "closed"
    assert found["links"] == found["data"]["links"]
    unknown = run_here("history", "999", "--core", past.address)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "sessiongate: no session with id 999 is remembered\n"


def test_times_are_those_of_the_zone(past: Past) -> None:
    ahead = timedelta(hours=5, minutes=30)
    moment = datetime.fromisoformat(past.moments["all"])
    there = f"{moment + ahead + timedelta(seconds=1):%Y-%m-%d %H:%M:%S}"
    eventually(lambda: datetime.now(UTC) > moment + timedelta(seconds=1))  # else it is to come
    zone = {"TZ": "Asia/Kolkata"}
    # A second later, alice may have left.
    assert {"12", "13"} >= {*past.listed("--at", there, **zone)[0]} - {"11"}
    asked = run("history", "--at", there, "--core", past.address, **zone)
    assert asked.stderr.splitlines()[0].endswith(f"connected at {there}+05:30")
    start = datetime.strptime(CONNECTED, "%a %b %d %H:%M:%S %Y") + ahead
    assert f"{start:%Y-%m-%d %H:%M:%S}+05:30" in asked.stdout
    drawn = at_terminal("history", "--core", past.address, **zone)
    today = datetime.now(UTC) + ahead
    shown = f"{start:%H:%M:%S}" if start.date() == today.date() else f"{start:%Y-%m-%d %H:%M:%S}"
    assert f"{shown}  " in drawn
    assert f"{shown}+" not in drawn


@pytest.mark.parametrize("flags", [(), ("12",), ("--at", "0s"), ("--sort", "user")])
def test_a_terminal_of_80_columns_is_filled_and_not_commanded(
    past: Past, flags: tuple[str, ...]
) -> None:
    drawn = at_terminal("history", "--core", past.address, *flags)
    for style in ("\x1b[0m", "\x1b[1m", "\x1b[31m"):
        drawn = drawn.replace(style, "")
    lines = drawn.replace("\r\n", "\n").splitlines()
    assert all(map(str.isprintable, lines))
    if flags != ("12",):
        table = [line for line in lines if line[:3].strip().isdecimal() or "ID" in line[:3]]
        assert table
        assert max(map(cell_len, table)) <= 80
        assert "Connected" in table[0]
    if not flags:
        assert "Ended" in table[0]
        assert "Reason" in table[0]


def test_what_nobody_saw_is_named(tmp_path: Path) -> None:
    past = Past(tmp_path)
    past.show(alice=1, bob=2)
    with past.running():
        eventually(lambda: past.listed("--at", "0s")[0] == ["1", "2"])
    past.show(alice=1)
    with past.running():
        eventually(lambda: ended(past, 2))
        asked = run_here("history", "2", "--core", past.address)
        rows = dict(line.split(maxsplit=1) for line in asked.stdout.splitlines())
        assert rows["end_reason"] == "not_seen: it ended while its source was not observed"
        first, last = (rows[name].partition("  (")[0] for name in ("end_from", "end_to"))
        assert first <= last  # without their ages, which are rounded
        notes = past.listed("--since", "1m")[1]
        assert any(
            note.startswith("core_down: orders from ") and note.endswith(" (no core ran)")
            for note in notes
        )
        asked = run_here("history", "--since", "1m", "--core", past.address, "--limit", "1")
        assert asked.stderr.splitlines()[0].startswith("the first 1 session, connected between ")


def test_history_that_is_off_says_so(tmp_path: Path) -> None:
    past = Past(tmp_path, ("--history", "off"))
    past.show(alice=1, bob=2)
    with past.running():
        past.show(bob=2)
        eventually(lambda: past.listed()[0] == ["2"])
        [*_, note] = past.listed()[1]
        assert note.startswith("retention: orders from ")
        assert "not kept any more: see --history of the core" in note


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--activity idle", "--activity: is only for sessions that are connected now: what a"
         " session was doing is not kept; use `sessiongate list`"),
        ("--min-idle 5m", "--min-idle: is only for sessions that are connected now"),
        ("--min-activity-duration 1", "--min-activity-duration: is only for"),
        ("--columns id,idle", "--columns: 'idle' is not kept of past sessions"),
        ("--columns client.connection_attributes.a", "is not kept of past sessions"),
        ("--sort -activity.since", "--sort: 'activity.since' is not kept of past sessions"),
        ("--columns endet", "did you mean 'ended'?"),
        ("--columns id --output json", "is only for tables and CSV, not for json"),
        ("--at yesterday", "--at: must be a local time, such as 14:05 or 2026-11-26 14:05, a date"
         " and time with its offset, such as 2026-11-26T14:05:00Z, or how long ago, such as 15m"
         " (in s, m, h or d); got 'yesterday'"),
        ("--at 25:00", "--at: must be a local time"),
        ("--at 2261-01-01T12:00:00Z", "--at: must not be in the future, got 2261-01-01"),
        ("--at 5m --since 1h", "--at: cannot be combined with --since or --until; name one time"),
        ("--since 1h --until 2h", "--since: must be before --until ("),
        ("--since 2261-01-01T12:00:00Z", "--since: must be before the present, got 2261-01-01"),
        ("--by activity", "--by: must be among service, source, user, application, database,"
         " remote, state, got 'activity'"),
        ("--by user --sort ended", "--sort: is for sessions; --by prints the largest counts first"),
        ("12 --by user", "--by: chooses among several sessions, and ID is one"),
        ("12 --user alice", "--user: chooses among several sessions, and ID is one"),
        ("12 --at 5m", "--at: chooses among several sessions, and ID is one"),
        ("12 --output csv", "--output: must be table, json or yaml for one session, got 'csv'"),
        ("-5", "No such option: -5"),
        ("nobody", "ID: must be an integer from 1 to 18446744073709551615, got 'nobody'"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_an_error_that_says_why(flags: str, said: str) -> None:
    asked = run_here("history", "--core", "127.0.0.1:1", *flags.split(" "))
    assert (asked.returncode, asked.stdout) == (2, "")
    assert said in asked.stderr


class ScriptedHistory(HistoryServiceServicer):
    """Answers with pages, one after the other."""

    def __init__(self, *pages: ListPastSessionsResponse | Failure) -> None:
        self.pages = pages
        self.silent_from: int | None = None
        self.asked = threading.Event()
        self.sizes: list[int] = []

    def ListPastSessions(
        self, request: ListPastSessionsRequest, context: grpc.ServicerContext
    ) -> ListPastSessionsResponse:
        self.sizes.append(request.page_size)
        index = int(request.page_token or 0)
        if index == self.silent_from:
            ended = threading.Event()
            if context.add_callback(ended.set):
                self.asked.set()
                ended.wait()
        page = self._answer(self.pages[index], context)
        if index + 1 < len(self.pages):
            page.next_page_token = str(index + 1)
        return page

    def GetPastSession(
        self, request: GetPastSessionRequest, context: grpc.ServicerContext
    ) -> GetPastSessionResponse:
        page = self._answer(self.pages[0], context)
        found = {each.session.id: each for each in page.sessions}
        if request.id not in found:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such session")
        return GetPastSessionResponse(session=found[request.id])

    def _answer(
        self, page: ListPastSessionsResponse | Failure, context: grpc.ServicerContext
    ) -> ListPastSessionsResponse:
        if isinstance(page, Failure):
            if page.reason:
                context.set_trailing_metadata(page.trailers)
            context.abort(page.code, "the ledger failed")
        assert not isinstance(page, Failure)
        return page


@contextmanager
def scripted(history: ScriptedHistory) -> Iterator[str]:
    with ThreadPoolExecutor(max_workers=8) as pool:
        server = grpc.server(pool)
        add_HistoryServiceServicer_to_server(history, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


def page(*idents: int, **fields: Any) -> ListPastSessionsResponse:
    found = [PastSession(session=session(ident), **fields) for ident in idents]
    return ListPastSessionsResponse(sessions=found)


def test_a_core_that_cannot_answer_says_what_to_do() -> None:
    for flags in ((), ("12",)):
        with listening(ScriptedCore()) as address:
            asked = run_here("history", *flags, "--core", address)
        assert (asked.returncode, asked.stdout) == (1, "")
        assert asked.stderr == (
            "sessiongate: the core does not support this: it is of an earlier version; update it\n"
        )
        failure = Failure(grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE")
        with scripted(ScriptedHistory(failure)) as address:
            asked = run_here("history", *flags, "--core", address)
        assert (asked.returncode, asked.stdout) == (1, "")
        assert asked.stderr == (
            "sessiongate: the ledger failed; try again, and read the core's log if it stays so\n"
        )
    asked = run_here("history", "--core", "127.0.0.1:1")
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "`sessiongate serve` starts one" in asked.stderr


def test_a_page_is_printed_before_the_next_one_arrives() -> None:
    history = ScriptedHistory(page(1, 2), page(3))
    history.silent_from = 1
    with scripted(history) as address:
        for form in ("table", "jsonl", "csv"):
            with ForkedProgram("history", "-o", form, "--core", address) as program:
                program.expect("2017")
                program.expect("2017")
                assert history.asked.wait(60), "the second page is asked for, and not answered"
                history.asked.clear()


def test_no_more_is_read_than_is_shown() -> None:
    history = ScriptedHistory(page(1, 2), page(3), page(4))
    with scripted(history) as address:
        asked = run_here("history", "--limit", "3", "-o", "jsonl", "--core", address)
    assert len(asked.stdout.splitlines()) == 3
    assert history.sizes == [3, 1]


def test_a_list_that_fails_midway_is_an_error() -> None:
    history = ScriptedHistory(page(1, 2), Failure(grpc.StatusCode.INTERNAL))
    with scripted(history) as address:
        asked = run_here("history", "--json", "--core", address)
    assert (asked.returncode, asked.stderr) == (1, "sessiongate: the core failed to answer\n")
    with pytest.raises(json.JSONDecodeError):  # a part is not mistaken for the whole
        json.loads(asked.stdout)


def test_many_gaps_are_told_in_few_lines() -> None:
    whole = page(1)
    for minute in range(30):
        for source in range(40):
            gap = HistoryGap(source=f"db{source}\x1b[2J", reason=GapReason.GAP_REASON_UNREACHABLE)
            gap.start_time.FromSeconds(60 * minute)
            gap.end_time.FromSeconds(60 * minute + 30)
            whole.gaps.append(gap)
    whole.gaps.add(source="new", reason=GapReason.GAP_REASON_RETENTION).end_time.FromSeconds(9)
    with scripted(ScriptedHistory(whole)) as address:
        notes = run("history", "--core", address, TZ="UTC").stderr.splitlines()
        document = json.loads(run_here("history", "--json", "--core", address).stdout)
    assert len(notes) == 22
    assert "db0\ufffd[2J, db1\ufffd[2J" in notes[1]
    assert notes[1].endswith(
        " and 20 more from 1970-01-01 00:00:00Z to 1970-01-01 00:00:30Z (could not be read)"
    )
    assert notes[-1] == "and 11 more gaps; --output json names them"
    assert len(document["meta"]["gaps"]) == 1201


@pytest.mark.parametrize("reason", [1, 2, 3, 4, 5, 99])
def test_each_reason_is_told(reason: int) -> None:
    one = page(1, end_reason=EndReason.ValueType(reason), ended_by="ann\x1b[2J")
    past = one.sessions[0]
    past.end_time.FromJsonString("2026-11-26T14:05:00Z")
    past.last_seen_time.FromJsonString("2026-11-26T14:00:00Z")
    past.longest_transaction.FromSeconds(90)
    with scripted(ScriptedHistory(one)) as address:
        shown = run("history", "1", "--core", address, TZ="UTC").stdout
        wide = run("history", "-o", "wide", "--core", address, TZ="UTC").stdout
    assert ("end_reason" in shown) == (reason != 99)
    for text in ("2026-11-26 14:00:00Z", "ann\ufffd[2J", "1m30s"):
        assert text in shown
        assert text in wide


def test_the_chain_is_drawn_even_if_one_end_has_forgotten_it() -> None:
    history = ScriptedHistory(page(1, 2))
    server, proxy = history.pages[0].sessions  # type: ignore[union-attr] # a page
    server.session.downstream_ids.append(2)
    proxy.session.remote, proxy.session.source = "192.0.2.1", "pool\x1b[2J"
    with scripted(history) as address:
        shown = run_here("history", "1", "--core", address).stdout
        other = run_here("history", "2", "--core", address).stdout
    assert shown.splitlines()[-4:] == [
        "Chain",
        "client 192.0.2.1",
        "└─ 2  pool\ufffd[2J  app",
        "   └─ 1  test  app  <- this session",
    ]
    assert "Chain" not in other
