"""How acts proceed: their grace, their end, their limits, and what is recorded of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from google.protobuf.duration_pb2 import Duration

from sessiongate.client import Client
from sessiongate.client.errors import CallError
from sessiongate.core.actions import audit
from sessiongate.core.actions.attempt import outcome_of
from sessiongate.core.actions.audit import AuditLog
from sessiongate.core.actions.quota import ActionQuota
from sessiongate.core.errors import AuditUnavailableError, CoreError, TooManyActionsError
from sessiongate.core.grpc.status import STATUS_MAPPINGS
from sessiongate.core.sources.base import Action, Observed
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.watched_file import FileError
from sessiongate.v1.errors import Reason
from sessiongate.v1.history_service_pb2 import EndReason
from sessiongate.v1.session_action_service_pb2 import (
    CancelStatementRequest,
    TerminateSessionRequest,
)
from sessiongate.v1.session_pb2 import ACTIVITY_STATE_ACTIVE
from tests.core.acting import BOTH, PATIENT, acting
from tests.credentials import USER, CredentialFiles, basic
from tests.doing import showing, stated
from tests.maxscale import MaxScale
from tests.polling import eventually
from tests.postgres import PASSWORD, SUPERUSER, Clients, Postgres, is_alive, running_postgres
from tests.runtime.clock import Clock
from tests.servers import free_port

NEVER = 3600  # seconds: a source that is observed only when somebody waits for it


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


def source(server: Postgres, **options: object) -> dict[str, object]:
    url = f"postgresql://{SUPERUSER}@127.0.0.1:{server.port}"
    return {"url": url, "name": "db", "password": PASSWORD, "actions": BOTH, **options}


def connected(server: Postgres, clients: Clients, name: str = "aim") -> psycopg.Connection:
    return clients.add(server.connect(application_name=name))


def test_the_end_is_seen_at_once_however_rarely_a_source_is_read(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    client = connected(server, clients)
    with acting(tmp_path, source(server, interval=NEVER)) as core:
        seen = core.session()
        result = core.terminate(seen.id)
        assert result.ended
        assert result.revision > seen.revision
        assert not core.ids()
        assert not is_alive(client)


def test_who_does_not_wait_is_told_that_the_end_is_not_known(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    client = connected(server, clients)
    with acting(tmp_path, source(server, interval=NEVER)) as core:
        result = core.terminate(core.session().id, max_wait=Duration())
        assert not result.ended
        assert result.revision == 0
        assert not is_alive(client)
        eventually(lambda: not core.ids())


def test_a_session_is_ended_when_its_grace_is_over(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    client = connected(server, clients)
    with acting(tmp_path, source(server, interval=NEVER)) as core:
        seen = core.session()
        began = time.monotonic()
        result = core.terminate(seen.id, grace=Duration(seconds=1), max_wait=Duration())
        assert not result.ended
        is_waited_for = core.outcomes() == ["waiting"] and is_alive(client)
        assert is_waited_for or time.monotonic() - began >= 1
        eventually(lambda: not core.ids())
        assert not is_alive(client)
        eventually(core.outcomes, lambda found: found == ["waiting", "begun", "done"])
        assert core.past(seen.id).end_reason == EndReason.END_REASON_TERMINATED


def test_a_session_that_has_ended_by_itself_is_not_shown_after_an_act(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    pid = connected(server, clients).info.backend_pid
    with acting(tmp_path, source(server, interval=NEVER)) as core:
        seen = core.session()
        clients.close()
        eventually(lambda: not psutil.pid_exists(pid))
        assert core.refusal(core.terminate, seen.id) == Reason.SESSION_NOT_FOUND
        eventually(lambda: not core.ids())


@pytest.mark.long
def test_who_ends_within_the_grace_is_not_ended(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    connected(server, clients)
    with acting(tmp_path, source(server, interval=0.1)) as core:
        seen = core.session()
        core.terminate(seen.id, grace=Duration(seconds=4), max_wait=Duration())
        clients.close()
        eventually(lambda: len(core.outcomes()) == 2)
        assert core.outcomes() == ["waiting", "session_not_found"]
        assert core.past(seen.id).end_reason == EndReason.END_REASON_CLOSED


def test_a_core_that_stops_gives_up_what_has_not_begun(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    client = connected(server, clients)
    with acting(tmp_path, source(server)) as core:
        core.terminate(core.session().id, grace=Duration(seconds=NEVER), max_wait=Duration())
    assert core.outcomes() == ["waiting", "abandoned"]
    assert is_alive(client)


def test_after_an_error_of_the_server_the_end_is_looked_for(tmp_path: Path) -> None:
    maxscale = MaxScale()
    maxscale.deletion = 503

    def test(location: str) -> None:
        url = f"maxscale+http://ann@{location}"
        options = {"name": "proxy", "password": PASSWORD, "interval": 0.1}
        with acting(tmp_path, {"url": url, "actions": ["terminate"], **options}) as core:
            first, second = sorted(core.ids())[:2]
            result = core.terminate(first, max_wait=Duration(nanos=300_000_000))
            assert not result.ended
            # This time it has done it.
            maxscale.ends_whatever_it_answers = True
            assert core.terminate(second).ended
            assert core.outcomes() == ["begun", "uncertain"] * 2
            assert core.ids().isdisjoint({second})
            assert core.past(second).end_reason == EndReason.END_REASON_TERMINATED

    async def main() -> None:
        async with maxscale.serving() as location:
            await asyncio.to_thread(test, location)

    asyncio.run(main())


@pytest.mark.long
def test_a_server_that_hangs_does_not_keep_who_asked(tmp_path: Path) -> None:
    maxscale = MaxScale()
    moment = Duration(nanos=100_000_000)

    def test(location: str, loop: asyncio.AbstractEventLoop) -> None:
        url = f"maxscale+http://ann@{location}"
        options = {"name": "proxy", "password": PASSWORD, "interval": NEVER, "timeout": NEVER}
        with acting(tmp_path, {"url": url, "actions": ["terminate"], **options}) as core:
            first, second = sorted(core.ids())[:2]

            def reason(_: int) -> str | None:
                with pytest.raises(CallError, match="nothing was done") as caught:
                    core.terminate(first, max_wait=moment)
                return caught.value.reason

            loop.call_soon_threadsafe(maxscale.answers.clear)
            with ThreadPoolExecutor() as pool:  # one waits for the other
                assert {*pool.map(reason, range(2))} == {Reason.SOURCE_UNREACHABLE}
            loop.call_soon_threadsafe(maxscale.answers.set)
            loop.call_soon_threadsafe(maxscale.deletes.clear)
            assert not core.terminate(second, max_wait=moment).ended
            assert (core.outcomes()[-1], maxscale.ended) == ("begun", [])
            loop.call_soon_threadsafe(maxscale.deletes.set)
            eventually(lambda: core.outcomes()[-1] == "done")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with maxscale.serving() as location:
            await asyncio.to_thread(test, location, loop)

    asyncio.run(main())


def test_nothing_is_done_that_cannot_be_told(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    client = connected(server, clients)
    log = tmp_path / "logs" / "audit.log"
    log.parent.mkdir()
    with acting(tmp_path, source(server), audit_log=str(log)) as core:
        seen = core.session()
        log.unlink()
        log.mkdir()  # nothing can be appended to a folder
        with pytest.raises(CallError) as caught:
            core.terminate(seen.id)
        assert caught.value.reason == Reason.AUDIT_UNAVAILABLE
        assert is_alive(client)
        log.rmdir()
        assert core.terminate(seen.id).ended
        assert log.read_text().count('"outcome": "done"') == 1


def test_an_audit_log_that_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo, folder = tmp_path / "fifo", tmp_path / "folder" / "log"
    os.mkfifo(fifo)
    with open(fifo, "rb", opener=lambda path, _: os.open(path, os.O_RDONLY | os.O_NONBLOCK)):
        for path, said in ((fifo, "is a FIFO, not a regular file"), (folder, "cannot be written")):
            with pytest.raises(FileError, match=f"audit_log: .*{said}"):
                AuditLog(path).check()
            with pytest.raises(AuditUnavailableError, match="nothing was done"):
                asyncio.run(AuditLog(path).write("", {}))


def test_a_full_disk_leaves_no_part_of_a_line_in_the_audit_log(tmp_path: Path) -> None:
    script = """
import asyncio, resource, sys
from contextlib import suppress
from pathlib import Path
from sessiongate.core.actions.audit import AuditLog
from sessiongate.core.errors import AuditUnavailableError

path = Path(sys.argv[1])
log = AuditLog(path)
asyncio.run(log.write("", {"line": 1}))
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, most))
with suppress(AuditUnavailableError):
    asyncio.run(log.write("", {"line": 2}))
    sys.exit("it was written")
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
asyncio.run(log.write("", {"line": 3}))
"""
    path = tmp_path / "audit.log"
    subprocess.run([sys.executable, "-c", script, path], check=True, capture_output=True)
    assert path.read_text() == '{"line": 1}\n{"line": 3}\n'


@pytest.mark.parametrize("action", Action)
def test_what_changes_while_the_audit_log_is_written_is_spared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    append, writes, changed = audit._append, threading.Event(), threading.Event()

    def slowly(path: Path, line: bytes) -> None:
        append(path, line)
        writes.set()
        assert changed.wait(PATIENT)

    def one(since: int, user: str) -> Observed:
        return stated("1", ACTIVITY_STATE_ACTIVE, since=since, user=user)

    monkeypatch.setattr(audit, "_append", slowly)
    monkeypatch.setattr(audit, "_TIMEOUT", PATIENT)
    with (
        showing({"db": [one(0, "ann")]}, {"db": ",".join(BOTH)}, audit_log=str(tmp_path / "log"),
                protection=Protection(insecure_actions=True)) as shown,
        Client(shown.address, timeout=PATIENT) as client,
        ThreadPoolExecutor() as pool,
    ):  # fmt: skip
        seen = client.get_session(1).session
        if action is Action.TERMINATE:
            ending = TerminateSessionRequest(id=1, identity_revision=seen.identity_revision)
            act: Future[object] = pool.submit(client.terminate_session, ending)
            after = [one(0, "bob")]
        else:
            since = seen.activity.since_time
            cancelling = CancelStatementRequest(id=1, activity_since_time=since)
            act = pool.submit(client.cancel_statement, cancelling)
            after = [one(5, "ann")]
        assert writes.wait(PATIENT)
        shown.sources["db"] = after
        eventually(lambda: client.get_session(1).session.revision != seen.revision)
        changed.set()
        with pytest.raises(CallError) as caught:
            act.result(PATIENT)
        assert caught.value.reason == Reason.SESSION_CHANGED
        assert shown.acts == []


def test_a_caller_that_acts_too_often_is_refused(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    connected(server, clients)
    with acting(tmp_path, source(server), max_actions=3) as core:
        seen = core.session()
        for _ in range(3):
            assert core.refusal(core.cancel, seen.id) == Reason.NO_STATEMENT
        assert core.refusal(core.cancel, seen.id) == Reason.TOO_MANY_ACTIONS
        assert core.refusal(core.terminate, seen.id) == Reason.TOO_MANY_ACTIONS
        assert seen.id in core.ids()


def test_history_and_metrics_tell_who_did_what(
    server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    files, operators = CredentialFiles(tmp_path), tmp_path / "operators"
    operators.write_text(f"{USER}\n")
    connected(server, clients)
    port = free_port()
    settings: dict[str, Any] = {
        **files.settings,
        "operators": str(operators),
        "insecure_actions": False,
        "core_metrics": f"127.0.0.1:{port}",
    }
    login = {"authorization": basic()}
    with acting(tmp_path, source(server), metadata=login, **settings) as core:
        seen = core.session()
        assert core.terminate(seen.id).ended
        assert core.refusal(core.terminate, 10**6) == Reason.SESSION_NOT_FOUND
        past = core.past(seen.id)
        assert past.end_reason == EndReason.END_REASON_TERMINATED
        assert past.ended_by == USER
        headers = {"Authorization": basic()}
        shown = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers).text
        counted = [line for line in shown.splitlines() if line.startswith("sessiongate_actions_")]
        what = 'sessiongate_actions_total{action="terminate",outcome="%s",source="%s"} 1.0'
        assert what % ("done", "db") in counted
        assert what % ("session_not_found", "") in counted


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"grace": Duration(seconds=3601)}, "grace: must be from 0 to 3600 seconds"),
        ({"grace": Duration(seconds=-1)}, "grace: must be from 0 to 3600 seconds"),
        ({"max_wait": Duration(seconds=61)}, "max_wait: must be from 0 to 60 seconds"),
        ({"max_wait": Duration(nanos=-1)}, "max_wait: must be from 0 to 60 seconds"),
    ],
)
def test_a_wrong_field_is_named(
    server: Postgres, tmp_path: Path, fields: dict[str, Any], expected: str
) -> None:
    with acting(tmp_path, source(server)) as core:
        with pytest.raises(CallError, match=expected):
            core.terminate(1, **fields)
        with pytest.raises(CallError, match="id: must be at least 1"):
            core.cancel(0)
        assert core.audit() == []


def test_each_error_of_an_act_is_its_reason_in_the_audit_log() -> None:
    for error, mapping in STATUS_MAPPINGS.items():
        if issubclass(error, CoreError):
            assert outcome_of(error.__new__(error)) == mapping.reason.lower()


def test_a_quota_fills_again_with_time() -> None:
    clock = Clock()
    quota = ActionQuota(6, clock)
    for _ in range(6):
        quota.take("ann", "of this caller")
    with pytest.raises(TooManyActionsError, match="at most 6 per minute") as caught:
        quota.take("ann", "of this caller")
    assert caught.value.metadata == {"retry_after": "10"}
    quota.take("bob", "of this caller")
    clock.now += 10
    quota.take("ann", "of this caller")
    with pytest.raises(TooManyActionsError):
        quota.take("ann", "of this caller")
    clock.now += 60
    for _ in range(6):
        quota.take("ann", "of this caller")
