"""Acting on the sessions of a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from sessiongate.core.sources.acts import postgresql
from sessiongate.core.sources.base import ActFault, ActingSource, Action, Observed, Target
from sessiongate.v1.errors import Reason
from sessiongate.v1.history_service_pb2 import EndReason
from sessiongate.v1.session_pb2 import ActivityState, Session
from sessiongate.v1.session_service_pb2 import SessionFilter
from tests.core.acting import BOTH, Acting, acting, struck
from tests.core.real import Watched
from tests.polling import eventually
from tests.postgres import PASSWORD, STORED, Clients, Postgres, is_alive, running_postgres

READER, OPERATOR = "sessiongate", "sessiongate_acts"
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")  # the next process gets the next id
ACTIVE, IDLE = ActivityState.ACTIVITY_STATE_ACTIVE, ActivityState.ACTIVITY_STATE_IDLE


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        postgres.execute(
            *(
                f"CREATE ROLE {name} LOGIN PASSWORD '{STORED}'"
                for name in (READER, OPERATOR, "app", "blind")
            ),
            f"GRANT pg_read_all_stats TO {READER}",
            f"GRANT pg_read_all_stats, pg_signal_backend TO {OPERATOR}",
            "GRANT pg_signal_backend TO blind",
        )
        yield postgres


def source(server: Postgres, **options: object) -> dict[str, object]:
    return {
        "url": f"postgresql://{READER}@127.0.0.1:{server.port}",
        "name": "db",
        "password": PASSWORD,
        "interval": 0.2,
        "actions": BOTH,
        "action_user": OPERATOR,
        "action_password": PASSWORD,
        **options,
    }


def pid_of(client: psycopg.Connection) -> str:
    row = client.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return str(row[0])


def the(core: Acting, pid: str, doing: ActivityState = IDLE) -> Session:
    """Return a session, once the core shows that it does this."""

    def look() -> list[Session]:
        wanted = SessionFilter(activities=[doing])
        return [one for one in core.client.sessions(wanted) if one.native_id == pid]

    return eventually(look)[0]


@contextmanager
def sleeping(client: psycopg.Connection) -> Iterator[list[BaseException]]:
    """Run a statement that lasts; yield a list that has its error once it has ended."""
    ended: list[BaseException] = []

    def run() -> None:
        try:
            client.execute("SELECT pg_sleep(600)")
        except psycopg.Error as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ended
    finally:
        client.cancel_safe()
        thread.join()


def test_the_right_one_of_two_equal_sessions_ends(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    one, other = (clients.add(server.connect(user="app")) for _ in range(2))
    pid = pid_of(one)
    with acting(tmp_path, source(server)) as core:
        seen, spared = the(core, pid), the(core, pid_of(other))
        result = core.terminate(seen.id, identity_revision=seen.identity_revision)
        assert result.ended
        assert core.ids() & {seen.id, spared.id} == {spared.id}
        assert not is_alive(one)
        assert is_alive(other)
        past = core.past(seen.id)
        assert past.end_reason == EndReason.END_REASON_TERMINATED
        assert not past.HasField("last_seen_time")
        begun, done = core.audit()
        assert [begun["outcome"], done["outcome"]] == ["begun", "done"]
        assert done["session"] == {
            "id": seen.id,
            "source": "db",
            "native_id": pid,
            "user": "app",
            "remote": "127.0.0.1",
            "port": seen.port,
            "service": "db",
            "database": "postgres",
        }
        assert core.refusal(core.terminate, seen.id) == Reason.SESSION_NOT_FOUND


def test_a_session_that_ends_by_itself_was_not_terminated(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    client = clients.add(server.connect(user="app"))
    with acting(tmp_path, source(server, action_user=READER)) as core:
        seen = the(core, pid_of(client))
        assert core.refusal(core.terminate, seen.id) == Reason.ACTION_REFUSED
        said = core.audit()[-1]["detail"]  # until PostgreSQL 15, and from 16 on
        assert "must be a member of" in said or "permission denied" in said
        assert is_alive(client)
        clients.close()
        past = eventually(lambda: core.past(seen.id), lambda past: past.HasField("end_time"))
        assert past.end_reason == EndReason.END_REASON_CLOSED


def test_who_does_not_see_when_sessions_began_ends_none(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    client = clients.add(server.connect(user="app"))
    with acting(tmp_path, source(server, action_user="blind")) as core:
        seen = the(core, pid_of(client))
        assert core.refusal(core.terminate, seen.id) == Reason.ACTION_REFUSED
        assert "GRANT pg_read_all_stats" in core.audit()[-1]["detail"]
        assert is_alive(client)


def test_a_statement_is_cancelled_and_its_session_stays(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    one, other = (clients.add(server.connect(user="app")) for _ in range(2))
    pids = pid_of(one), pid_of(other)
    with (
        acting(tmp_path, source(server)) as core,
        sleeping(one) as ended,
        sleeping(other) as spared,
    ):
        seen, _ = (the(core, pid, ACTIVE) for pid in pids)
        since = seen.activity.since_time
        wrong = type(since)(seconds=since.seconds, nanos=since.nanos ^ 1000)
        changed: list[dict[str, Any]] = [
            {"activity_since_time": wrong},
            {"revision": seen.revision - 1},
            {"identity_revision": seen.identity_revision - 1},
        ]
        for fields in changed:
            assert core.refusal(core.cancel, seen.id, **fields) == Reason.SESSION_CHANGED
        result = core.cancel(seen.id, activity_since_time=since, revision=seen.revision)
        assert result.ended
        assert isinstance(eventually(lambda: ended)[0], psycopg.errors.QueryCanceled)
        assert not spared
        assert the(core, pids[0]).id == seen.id
        assert core.refusal(core.cancel, seen.id) == Reason.NO_STATEMENT
        assert core.cancel(the(core, pids[1], ACTIVE).id).ended
        assert eventually(lambda: spared)


def test_a_statement_that_has_come_after_the_one_that_was_seen_goes_on(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    client = clients.add(server.connect(user="app"))
    pid = pid_of(client)
    with sleeping(client), acting(tmp_path, source(server, interval=3600)) as core:
        seen = the(core, pid, ACTIVE)
        client.cancel_safe()
        eventually(lambda: client.info.transaction_status == psycopg.pq.TransactionStatus.IDLE)
        with sleeping(client) as ended:
            eventually(lambda: client.info.transaction_status.name == "ACTIVE")
            since = {"activity_since_time": seen.activity.since_time}
            assert core.refusal(core.cancel, seen.id, **since) == Reason.SESSION_CHANGED
            assert not ended


@pytest.mark.parametrize("action", Action)
def test_a_process_id_that_is_another_sessions_by_now_hits_nobody(
    server: Postgres, clients: Clients, action: Action
) -> None:
    client = clients.add(server.connect(user="app"))
    pid = pid_of(client)
    options = {key: str(value) for key, value in source(server, actions="").items()}
    options |= {"actions": ",".join(BOTH)}
    with Watched(options.pop("url"), **options) as watched:
        observation = watched.observe()
        (item,) = (one for one in observation.sessions if one.session.native_id == pid)
        pid, start = item.key.split(" ")
        before = Observed(f"{pid} {int(start) - 1}", item.session)

        def act(target: Target) -> ActFault | None:
            return watched.run(struck(watched.source, action, target))

        with sleeping(client) as ended:
            for target in (
                Target(before, item.session, observation.incarnation),
                Target(item, item.session, (observation.incarnation or 0) - 3),
            ):
                assert act(target) is ActFault.GONE
            assert not ended
            target = Target(item, item.session, observation.incarnation)
            assert act(target) is None
            assert eventually(lambda: ended)


def test_who_is_given_the_process_id_of_one_that_has_left_is_not_hit(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    if not os.access(LAST_PID, os.W_OK):
        pytest.skip("only root chooses process ids; the test above does without")
    client = clients.add(server.connect(user="app"))
    pid = pid_of(client)
    # The core does not look again before it acts.
    with acting(tmp_path, source(server, interval=3600)) as core:
        seen = the(core, pid)
        client.close()
        eventually(lambda: not psutil.pid_exists(int(pid)))

        def given_again() -> psycopg.Connection | None:
            LAST_PID.write_text(str(int(pid) - 1))
            following = clients.add(server.connect(user="app"))
            if pid_of(following) == pid:
                return following
            following.close()
            return None

        following = eventually(given_again)
        assert following is not None
        for act in (core.terminate, core.cancel):
            seen_then = {"identity_revision": seen.identity_revision}
            assert core.refusal(act, seen.id, **seen_then) == Reason.SESSION_NOT_FOUND
        assert is_alive(following)


@pytest.mark.parametrize("are_shown", [False, True])
def test_the_connection_of_an_act_is_no_session(
    server: Postgres, clients: Clients, are_shown: bool
) -> None:
    client = clients.add(server.connect(user="app"))
    options = {key: str(value) for key, value in source(server, actions="terminate").items()}
    options |= {"include_self": "true"} if are_shown else {}
    with Watched(options.pop("url"), **options) as watched:
        acts = watched.source
        assert isinstance(acts, ActingSource)
        observation = watched.observe()
        (item,) = (one for one in observation.sessions if one.session.native_id == pid_of(client))
        target = Target(item, item.session, observation.incarnation)

        async def is_seen() -> bool:
            sessions = (await acts.observe()).sessions
            return any(each.session.user == OPERATOR for each in sessions)

        async def act() -> tuple[bool, bool]:
            async with acts.aim(Action.TERMINATE, target):
                question = "SELECT pid FROM pg_stat_activity WHERE usename = %s"
                with server.connect() as looking:
                    ((pid,),) = looking.execute(question, (OPERATOR,)).fetchall()
                meanwhile = await is_seen()
                os.kill(pid, signal.SIGSTOP)  # the server notices late that it is closed
            try:
                return meanwhile, await is_seen()
            finally:
                os.kill(pid, signal.SIGCONT)

        assert watched.run(act()) == (are_shown, are_shown)
        watched.until(lambda found: all(one.user != OPERATOR for one in found))
        # Whoever connects as that user is a session.
        with server.connect(user=OPERATOR):
            watched.until(lambda found: any(one.user == OPERATOR for one in found))


def test_the_connection_of_an_act_that_hangs_is_no_session(
    server: Postgres, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_LOOK", "SELECT pg_sleep(600)")
    client = clients.add(server.connect(user="app"))
    options = {key: str(value) for key, value in source(server, actions="terminate").items()}
    with Watched(options.pop("url"), **options) as watched, server.connect() as looking:
        acts = watched.source
        assert isinstance(acts, ActingSource)
        observation = watched.observe()
        (item,) = (one for one in observation.sessions if one.session.native_id == pid_of(client))
        target = Target(item, item.session, observation.incarnation)

        def hanging(what: str = "pid") -> int:
            question = "FROM pg_stat_activity WHERE usename = %s AND query LIKE '%%pg_sleep%%'"
            asked = f"SELECT {what} {question}".encode()
            return len(looking.execute(asked, (OPERATOR,)).fetchall())

        async def act() -> None:
            acting = asyncio.create_task(struck(acts, Action.TERMINATE, target))
            await asyncio.to_thread(eventually, hanging)
            for _ in ("while it hangs", "after it was given up"):
                sessions = (await acts.observe()).sessions
                assert OPERATOR not in {each.session.user for each in sessions}
                acting.cancel()
                await asyncio.wait({acting})

        watched.run(act())
        hanging("pg_terminate_backend(pid)")  # so that nobody waits for its end


def test_a_source_that_does_not_answer_has_nothing_done_to_it(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    client = clients.add(server.connect(user="app"))
    with acting(tmp_path, source(server, timeout=1)) as core:
        seen = the(core, pid_of(client))
        server.server.suspend()
        try:
            assert core.refusal(core.terminate, seen.id) == Reason.SOURCE_UNREACHABLE
        finally:
            server.server.resume()
        assert is_alive(client)
