"""`sessiongate terminate` and `cancel`, over a real PostgreSQL behind a real PgBouncer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sessiongate.client import Client
from sessiongate.client.errors import CallError
from sessiongate.runtime.auth.protection import Protection
from sessiongate.v1.session_action_service_pb2 import TerminateSessionRequest
from sessiongate.v1.session_pb2 import Session
from tests import debian13
from tests.core.acting import Acting, acting
from tests.core.test_acts_postgresql import sleeping
from tests.doing import showing, stated
from tests.polling import eventually
from tests.postgres import (
    PASSWORD,
    SUPERUSER,
    Clients,
    PgBouncer,
    Postgres,
    is_alive,
    running_pgbouncer,
    running_postgres,
)
from tests.program import PATIENCE, run
from tests.terminal import Terminal


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def pool(server: Postgres) -> Iterator[PgBouncer]:
    users = {SUPERUSER: PASSWORD}
    program = debian13.pgbouncer()
    with running_pgbouncer(server, users, None, program, pool_mode="session") as pgbouncer:
        yield pgbouncer


@pytest.fixture
def core(server: Postgres, tmp_path: Path) -> Iterator[Acting]:
    with acting(tmp_path, source(server)) as running:
        yield running


def source(server: Postgres) -> dict[str, object]:
    url = f"postgresql://{SUPERUSER}@127.0.0.1:{server.port}"
    actions = ["cancel", "terminate"]
    return {"url": url, "name": "db", "password": PASSWORD, "interval": 0.1, "actions": actions}


def connected(server: Postgres, clients: Clients, name: str) -> psycopg.Connection:
    return clients.add(server.connect(application_name=name))


def sessions(core: Acting, count: int) -> list[Session]:
    """Return all sessions, once there are as many."""
    return eventually(
        lambda: sorted(core.client.sessions(), key=lambda one: one.application),
        lambda found: len(found) == count,
    )


def command(core: Acting, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run(*arguments, "--core", core.address)


def test_sessions_are_ended_by_their_ids_and_shown_before(
    server: Postgres, clients: Clients, core: Acting
) -> None:
    one, two, three = (connected(server, clients, name) for name in ("a", "b", "c"))
    first, second, third = sessions(core, 3)
    ended = command(core, "terminate", first.id, second.id, first.id, "--yes")
    assert (ended.returncode, ended.stderr) == (0, "")
    head, *lines = ended.stdout.splitlines()
    assert head.startswith("ID")
    assert [line.split()[0] for line in lines[:2]] == [str(first.id), str(second.id)]
    assert lines[2:] == [f"session {first.id}: ended", f"session {second.id}: ended"]
    assert [is_alive(each) for each in (one, two, three)] == [False, False, True]
    again = command(core, "terminate", first.id, third.id, "--yes")
    assert again.returncode == 1
    assert again.stderr == f"sessiongate: no session with id {first.id}\n"
    assert is_alive(three), "one of them is wrong: nothing is done"


def test_many_are_chosen_by_flags_only_with_their_number(
    server: Postgres, clients: Clients, core: Acting
) -> None:
    opened = [connected(server, clients, name) for name in ("etl", "etl", "web")]
    sessions(core, 3)
    for arguments, code, said in (
        (["--application", "etl"], 2, "requires --expect N"),
        (["--application", "etl", "--expect", 3], 1, "2 sessions match, not 3; nothing was done"),
        (["--expect", 3], 2, "name sessions by their ids, or choose them by flags"),
        ([5, "--application", "etl"], 2, "cannot be combined with ids"),
        ([5, "--expect", 1], 2, "is only for flags that choose sessions"),
        ([], 2, "name sessions by their ids"),
        (["x"], 2, "must be an integer"),
        ([5, "--grace", "2h"], 2, "must be a duration of at most 1h"),
        (["--source", "bd", "--expect", 1], 2, "there is no source 'bd'; sources: db"),
    ):
        refused = command(core, "terminate", *arguments, "--yes")
        assert refused.returncode == code, refused
        assert said in refused.stderr
    assert all(map(is_alive, opened))
    assert (
        command(core, "terminate", "--application", "etl", "--expect", 2, "--yes").returncode == 0
    )
    assert [is_alive(each) for each in opened] == [False, False, True]


@pytest.mark.parametrize("answer", ["n", "", "y"])
def test_a_terminal_is_asked_before_anything_is_done(
    server: Postgres, clients: Clients, core: Acting, answer: str
) -> None:
    client = connected(server, clients, "a")
    (session,) = sessions(core, 1)
    with Terminal("terminate", session.id, "--core", core.address) as terminal:
        terminal.expect("End this session? [y/N]: ")
        assert is_alive(client)
        terminal.type(f"{answer}\n")
        code = terminal.wait()
    assert (code == 0) == (answer == "y")
    assert is_alive(client) == (answer != "y")
    assert ("nothing was done" in terminal.shown) == (answer != "y")


def test_without_a_terminal_it_must_be_told_not_to_ask(core: Acting) -> None:
    refused = command(core, "terminate", 5)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert "no terminal can be asked" in refused.stderr


def test_a_statement_is_cancelled(server: Postgres, clients: Clients, core: Acting) -> None:
    client = connected(server, clients, "report")
    with sleeping(client) as ended:
        eventually(
            lambda: [one for one in core.client.sessions() if one.activity.native == "active"]
        )
        (session,) = sessions(core, 1)
        done = command(core, "cancel", session.id, "--yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(f"session {session.id}: cancelled\n")
        assert eventually(lambda: ended)
    assert is_alive(client)
    # No proxy can cancel a statement.
    assert "No such option: --chain" in command(core, "cancel", session.id, "--chain").stderr
    # Until the core has seen the last statement end, the session is not as the command saw it.
    failed = eventually(
        lambda: command(core, "cancel", session.id, "--yes"),
        lambda failed: "runs no statement" in failed.stderr,
    )
    assert failed.returncode == 1
    assert "1 of 1 not cancelled" in failed.stderr


@pytest.mark.long
def test_a_session_that_is_still_there_is_not_taken_for_ended() -> None:
    open_to_all = Protection(insecure_actions=True)
    with showing({"db": [stated("1")]}, {"db": "terminate"}, protection=open_to_all) as shown:
        shown.stubborn = True
        done = run("terminate", 1, "--yes", "--core", shown.address)
        assert [key for _, key in shown.acts] == ["1"]
    assert done.stdout.endswith("session 1: was asked to end, but is still there\n")
    assert (done.returncode, done.stderr) == (1, "sessiongate: 1 of 1 not ended\n")


def test_a_statement_of_unknown_age_is_told_by_its_session() -> None:
    open_to_all = Protection(insecure_actions=True)
    with (
        showing({"db": [stated("1")]}, {"db": "cancel"}, protection=open_to_all) as shown,
        Client(shown.address, timeout=PATIENCE) as client,
    ):
        before = client.get_session(1).session.revision
        with Terminal("cancel", 1, "--core", shown.address) as terminal:
            terminal.expect("[y/N]: ")
            shown.sources["db"] = [stated("1", application="another")]
            eventually(lambda: client.get_session(1).session.revision != before)
            terminal.type("y\n")
            assert terminal.wait() == 1
        assert "is not as you saw it" in terminal.shown
        assert shown.acts == []


def test_a_session_is_ended_after_a_grace(server: Postgres, clients: Clients, core: Acting) -> None:
    client = connected(server, clients, "a")
    (session,) = sessions(core, 1)
    done = command(core, "terminate", session.id, "--grace", "0.5", "--yes")
    assert done.stdout.endswith(f"session {session.id}: will be ended in 0.5 s\n")
    sessions(core, 0)
    assert not is_alive(client)


def test_a_chain_is_ended_from_the_clients_end(
    server: Postgres, pool: PgBouncer, clients: Clients, tmp_path: Path
) -> None:
    url = f"pgbouncer://{SUPERUSER}@127.0.0.1:{pool.port}"
    proxy = {"url": url, "name": "pool", "password": PASSWORD, "interval": 0.1}
    with acting(tmp_path, source(server), {**proxy, "actions": ["terminate"]}) as core:
        for chain in ([], ["--chain"]):
            client = clients.add(pool.connect(application_name="a"))
            assert is_alive(client)

            def linked() -> list[Session]:
                return [one for one in core.client.sessions() if one.downstream_ids]

            (behind,) = eventually(linked, lambda found: len(found) == 1)
            (ahead,) = behind.downstream_ids
            done = command(core, "terminate", behind.id, *chain, "--yes")
            assert done.returncode == 0, done
            results = [line for line in done.stdout.splitlines() if line.startswith("session ")]
            if chain:
                assert results[0] == f"session {ahead}: ended"
                assert results[1].startswith(f"session {behind.id}: ")
                assert done.stderr == ""
            else:
                assert results == [f"session {behind.id}: ended"]
                assert f"at other tiers are left: {ahead}; --chain includes them" in done.stderr
            assert not is_alive(client)
            sessions(core, 0)


def test_a_servers_session_that_a_pool_has_given_to_another_client_is_left_alone(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    users = {SUPERUSER: PASSWORD}
    settings: dict[str, object] = {"pool_mode": "transaction", "default_pool_size": 1}
    with running_pgbouncer(server, users, None, debian13.pgbouncer(), **settings) as pool:
        url = f"pgbouncer://{SUPERUSER}@127.0.0.1:{pool.port}"
        proxy = {"url": url, "name": "pool", "password": PASSWORD, "interval": 0.1}
        with acting(tmp_path, source(server), proxy) as core:  # the pool's may not be ended
            one, other = (clients.add(pool.connect(application_name=name)) for name in "ab")
            one.execute("BEGIN")

            def linked(client: str) -> list[Session]:
                found = {each.id: each for each in core.client.sessions()}
                return [
                    each
                    for each in found.values()
                    if [found[ident].application for ident in each.downstream_ids] == [client]
                ]

            (behind,) = eventually(lambda: linked("a"), lambda found: len(found) == 1)
            arguments = ("terminate", behind.id, "--chain", "--core", core.address)
            with Terminal(*arguments, COLUMNS="200") as terminal:
                terminal.expect("[y/N]: ")
                one.execute("COMMIT")
                other.execute("BEGIN")
                eventually(lambda: linked("b"))
                terminal.type("y\n")
                assert terminal.wait() == 1
            assert f"session {behind.id}: left alone, because it serves" in terminal.shown
            assert is_alive(other)
            clients.close()  # this pool ends once it has none


def test_more_than_the_limit_takes_longer(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    opened = [connected(server, clients, "etl") for _ in range(4)]
    with acting(tmp_path, source(server), max_actions=60) as core:
        sessions(core, 4)
        for _ in range(58):  # the rest of this minute
            with pytest.raises(CallError):
                core.client.terminate_session(TerminateSessionRequest(id=10**6))
        flags = ("--application", "etl", "--expect", 4, "--yes")
        assert command(core, "terminate", *flags).returncode == 0
        assert not any(map(is_alive, opened))


def test_a_core_without_actions_says_what_is_missing(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    connected(server, clients, "a")
    with acting(tmp_path, source(server), insecure_actions=False) as core:
        (session,) = sessions(core, 1)
        done = command(core, "terminate", session.id, "--yes")
        assert done.returncode == 1
        assert "nobody is an operator (--operators)" in done.stderr
