"""One session: all that is known, its chain, who blocks whom, and how it changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from sessiongate.core.sources.base import Observed, TcpLink
from sessiongate.gateway.cli.one_session import session_rows
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import BackendConnection, Query, Session
from tests.doing import CONNECTED, Shown, showing, stated
from tests.invoking import run_here
from tests.program import ForkedProgram
from tests.terminal import at_terminal

TO_PROXY = TcpLink(("10.0.0.1", 5000), ("10.0.0.2", 3306))
TO_POOL = TcpLink(("10.0.0.2", 40000), ("10.0.0.3", 6432))
TO_SERVER = TcpLink(("10.0.0.3", 50000), ("10.0.0.4", 5432))


def sources() -> dict[str, list[Observed]]:
    """Return sessions of one client on three tiers, and of others that wait for it."""
    return {
        "web": [stated("1", remote="10.0.0.1", port=5000, accepted=TO_PROXY, opened=[TO_POOL])],
        "pool": [stated("2", user="alice", accepted=TO_POOL, opened=[TO_SERVER])],
        "pg": [
            stated("3", session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION, service="pg", user="alice",
                   application="etl", accepted=TO_SERVER),
            stated("4", session_pb2.ACTIVITY_STATE_WAITING, service="pg", user="bob",
                   blocked_by=["3"]),
            stated("5", session_pb2.ACTIVITY_STATE_WAITING, service="pg", user="carol",
                   blocked_by=["4"]),
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    with showing(sources()) as core:
        while "downstream" not in run_here("show", "3", "--json", "--core", core.address).stdout:
            pass
        yield core


def trees(core: Shown, ident: int) -> dict[str, list[str]]:
    """Return what stands below a session's attributes, by title; durations are D."""
    ended = run_here("show", ident, "--core", core.address)
    assert (ended.returncode, ended.stderr) == (0, "")
    _, *parts = ended.stdout.split("\n\n")
    lines = [re.sub(r"\d+d\d\dh", "D", part).splitlines() for part in parts]
    return {title: found for title, *found in lines}


@pytest.mark.parametrize("ident", [1, 2, 3])
def test_the_chain_is_drawn_from_the_client_to_the_server(shown: Shown, ident: int) -> None:
    lines = [
        "client 10.0.0.1:5000",
        "└─ 1  web  app",
        "   └─ 2  pool  app  alice",
        "      └─ 3  pg  alice  etl  idle in transaction  D",
    ]
    lines[ident] += "  <- this session"
    assert trees(shown, ident)["Chain"] == lines


def test_who_blocks_whom_is_drawn_with_the_client_behind_the_proxies(shown: Shown) -> None:
    alice = "3  pg  alice  etl  idle in transaction  D  through web 1  10.0.0.1:5000"
    assert trees(shown, 3)["Blocks"] == ["└─ 4  pg  bob  waiting  D"]
    assert trees(shown, 4) == {
        "Blocked by": [f"└─ {alice}"],
        "Blocks": ["└─ 5  pg  carol  waiting  D"],
    }
    assert trees(shown, 5)["Blocked by"] == ["└─ 4  pg  bob  waiting  D", f"   └─ {alice}"]


def test_a_session_has_a_line_for_each_attribute_and_none_that_is_empty() -> None:
    session = Session(id=7, source="pg", service="shop", user="x\x1b[2J", filters=["log"])
    session.tls_cipher = session.application = ""
    session.connection_attributes["k\u202e"] = "v"
    session.connect_time.FromSeconds(CONNECTED)
    session.last_active_time.FromSeconds(CONNECTED + 10)
    session.connections.append(BackendConnection(server="db1"))
    session.queries.append(Query(statement="select 1"))
    session.queries[0].receive_time.FromSeconds(CONNECTED)
    assert [*session_rows(session, CONNECTED + 90)] == [
        ("id", "7"),
        ("source", "pg"),
        ("service", "shop"),
        ("filters.0", "log"),
        ("state", "Invalid State"),
        ("connected", "2026-09-21 14:13:20Z  (1m30s ago)"),
        ("user", "x\ufffd[2J"),
        ("idle", "1m20s"),
        ("connections.0.server", "db1"),
        ("client.connection_attributes.k\ufffd", "v"),
        ("queries.0.statement", "select 1"),
        ("queries.0.received", "2026-09-21 14:13:20Z  (1m30s ago)"),
    ]


def test_a_deadlock_is_drawn_once() -> None:
    waiting = session_pb2.ACTIVITY_STATE_WAITING
    pair = [
        stated("1", waiting, service="pg", blocked_by=["2"]),
        stated("2", waiting, service="pg", blocked_by=["1"]),
    ]
    with showing({"pg": pair}) as core:
        assert trees(core, 1)["Blocked by"] == [
            "└─ 2  pg  waiting  D", "   └─ 1  pg  waiting  D  <- this session",
            "      └─ 2  pg  waiting  D",
        ]  # fmt: skip


def test_one_command_shows_who_blocks_whom(shown: Shown) -> None:
    def drawn(*flags: str) -> list[str]:
        printed = run_here("blockers", "--core", shown.address, *flags)
        assert printed.returncode == 0, printed.stderr
        return [
            re.sub(r" +[0-9]+[smhd][0-9smhd]*", "  D", line) for line in printed.stdout.splitlines()
        ]

    assert drawn() == [
        "└─ 3  pg  alice  etl  idle in transaction  D  through web 1  10.0.0.1:5000",
        "   └─ 4  pg  bob  waiting  D",
        "      └─ 5  pg  carol  waiting  D",
    ]
    assert drawn("--user", "carol") == [
        "└─ 4  pg  bob  waiting  D",
        "   └─ 5  pg  carol  waiting  D",
    ]
    assert drawn("--user", "nobody") == ["no session waits for another"]


def test_each_that_waits_is_drawn_below_those_that_it_waits_for() -> None:
    waiting = session_pb2.ACTIVITY_STATE_WAITING
    sessions = [
        stated("1", waiting, service="pg", blocked_by=["2"]),
        stated("2", waiting, service="pg", blocked_by=["1"]),
        stated("3", service="pg"),
        stated("4", waiting, service="pg", blocked_by=["3", "5"]),
        stated("5", service="pg"),
        stated("6", waiting, service="pg"),
    ]
    with showing({"pg": sessions, "my": "gone"}) as core:
        printed = run_here("blockers", "--core", core.address)
    lines = [re.findall(r"(.*?[0-9]+)  pg", line)[0] for line in printed.stdout.splitlines()]
    assert lines == ["├─ 3", "│  └─ 4", "├─ 5", "│  └─ 4", "└─ 1", "   └─ 2", "      └─ 1"]
    assert "unreachable: my" in printed.stderr


def test_a_queue_stands_side_by_side_below_its_head() -> None:
    waiting = session_pb2.ACTIVITY_STATE_WAITING
    keys = [*map(str, range(2, 301))]  # 2 waits for 1, the others for 2 and all before them
    queue = [stated(key, waiting, blocked_by=keys[:at] or ["1"]) for at, key in enumerate(keys)]
    with showing({"pg": [stated("1"), *queue]}) as core:
        printed = run_here("blockers", "--core", core.address).stdout.splitlines()
    assert len(printed) == 300
    assert {re.findall(r".*?─ ", line)[0] for line in printed} == {
        "└─ ",
        "   └─ ",
        "      ├─ ",
        "      └─ ",
    }


def test_a_terminal_shows_the_start_of_long_texts_in_trees() -> None:
    waiting = session_pb2.ACTIVITY_STATE_WAITING
    user, application = "u" * 10_000, "\u0301" * 10_000
    sessions = [
        stated("1", user=user, application=application),
        stated("2", waiting, blocked_by=["1"], user=user, application=application),
    ]
    with showing({"pg": sessions}) as core:
        for arguments in (["blockers"], ["show", "2"]):
            *_, line = at_terminal(*arguments, "--core", core.address).splitlines()
            assert f"{'u' * 19}…  " in line
            assert len(line) < 100
        assert user in run_here("blockers", "--core", core.address).stdout


def test_a_session_is_followed_until_it_ends() -> None:
    with showing({"pg": [stated("1", user="alice")]}) as core:
        with ForkedProgram("show", "1", "--follow", "--core", core.address) as follow:
            follow.expect(r"^user +alice$")
            core.sources["pg"] = [stated("1", user="bob")]
            follow.expect(r"^user +bob$")
            core.sources["pg"] = []
            follow.expect("session 1 has ended")
            assert follow.wait() == 0
        refused = run_here("show", "1", "--follow", "--json")
        assert refused.returncode == 2
        assert "--follow: is only for the table" in refused.stderr
        assert run_here("show", "1", "--follow", "--core", core.address).returncode == 1
