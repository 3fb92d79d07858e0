"""The ledger's disk, full or read-only: named, survived, and no id given twice."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessiongate.v1.session_service_pb2 import ListSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.faults.documents import write_document
from tests.polling import eventually
from tests.program import PATIENCE, Forked, ForkedProgram, Serving, channel
from tests.servers import require

pytestmark = pytest.mark.long

BEFORE, MORE = 10, 1000  # sessions


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a separate file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if mount("-t", "tmpfs", "-o", "size=4m", "none", folder).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def mount(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)


def fill(disk: Path) -> Path:
    """Leave no room; return the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


def test_a_disk_that_fills_up_is_named_and_no_id_given_twice(disk: Path, tmp_path: Path) -> None:
    document = tmp_path / "sessions.json"
    write_document(document, BEFORE)
    arguments = (
        *("--source", f"document:{document}?name=app&interval=0.1"),
        *("--ledger", f"sqlite:///{disk}/ledger.db"),
    )
    with Forked(*arguments) as serving:
        first = ids(await_sessions(serving, BEFORE))

        filler = fill(disk)
        write_document(document, MORE)
        await_failure(serving, "full|No space left")
        assert ids(sessions(serving)) == first, "what was shown stays, and nothing else is"
        filler.unlink()
        second = ids(await_sessions(serving, MORE))
        assert second.items() >= first.items()
        assert len(set(second.values())) == MORE
        assert "Traceback" not in serving.output
    files = {path.name for path in disk.iterdir()}
    assert files <= {"ledger.db", "ledger.db.lock", "ledger.db.mark"}


def test_a_disk_that_hangs_is_named_and_only_who_writes_waits_for_it(tmp_path: Path) -> None:
    app, other = tmp_path / "app.json", tmp_path / "other.json"
    write_document(app, BEFORE)
    write_document(other, BEFORE)
    arguments = (
        *("--source", f"document:{app}?name=app&interval=0.1&timeout=3"),
        *("--source", f"document:{other}?name=other&interval=0.1"),
        *("--ledger", f"sqlite:///{tmp_path}/ledger.db", "--stale-after", "1"),
    )
    with Forked(*arguments) as serving:
        await_sessions(serving, 2 * BEFORE)
        with hanging_disk(serving.core().pid):
            write_document(app, BEFORE + 1)
            await_failure(serving, "the ledger's disk hangs")
            # They were last confirmed too long ago: whether they live is unknown.
            # The other has nothing to write.
            await_answer(
                serving,
                lambda found: (
                    len(found["data"]) == BEFORE
                    and found.get("meta", {}).get("unreachable") == ["app"]
                ),
            )
            eventually(
                lambda: httpx.get(f"http://{serving.http}/readyz", timeout=PATIENCE).status_code,
                lambda status: status == 200,
            )
        await_sessions(serving, 2 * BEFORE + 1)
        assert "Traceback" not in serving.output


def test_a_core_whose_disk_hangs_ends_all_the_same(tmp_path: Path) -> None:
    document = tmp_path / "sessions.json"
    write_document(document, BEFORE)
    arguments = (
        *("--source", f"document:{document}?name=app&interval=0.1&timeout=3"),
        *("--ledger", f"sqlite:///{tmp_path}/ledger.db"),
    )
    with Forked(*arguments) as serving:
        first = ids(await_sessions(serving, BEFORE))
        with hanging_disk(serving.core().pid):
            write_document(document, BEFORE + 1)
            await_failure(serving, "the ledger's disk hangs")
            serving.interrupt()
            serving.wait()
        assert "the ledger's disk hangs; exiting without the last writes" in serving.output
    with Forked(*arguments) as serving:
        after = ids(await_sessions(serving, BEFORE + 1))
        assert after.items() >= first.items()
        assert len(set(after.values())) == BEFORE + 1


def test_the_first_answer_of_a_core_that_was_stopped_is_honest(tmp_path: Path) -> None:
    document = tmp_path / "sessions.json"
    write_document(document, BEFORE)
    source = f"document:{document}?name=app&interval=0.1&timeout=0.1"
    with Forked("--source", source) as serving, channel(serving.grpc) as core:
        await_sessions(serving, BEFORE)
        list_sessions = SessionServiceStub(core).ListSessions
        process = serving.core()
        for stopped in (0.0, 3.0):  # its interval, timeout and lateness allow 2.2 s
            process.suspend()
            write_document(document, 0)  # all have ended: show none, or admit not to know
            answering = [list_sessions.future(ListSessionsRequest()) for _ in range(20)]
            time.sleep(stopped)
            process.resume()
            for answer in answering:
                found = answer.result(timeout=PATIENCE)
                if stopped:
                    assert found.unreachable == ["app"] or not found.sessions
            write_document(document, BEFORE)
            await_sessions(serving, BEFORE)


@contextmanager
def hanging_disk(pid: int) -> Iterator[None]:
    """Make each sync of a process to its disk take 15 seconds, until the end."""
    strace = require("strace", "strace")
    inject = "inject=fsync,fdatasync:delay_enter=15000000"
    arguments = [strace, "-f", "-qq", "-o", "/dev/null", "-e", inject, "-p", str(pid)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as tracing:
        try:
            tracers = [f"TracerPid:\t{tracing.pid}" in status(task) for task in tasks(pid)]
            while not tracers or not all(tracers):
                assert tracing.poll() is None, tracing.stderr and tracing.stderr.read()
                time.sleep(0.01)
                tracers = [f"TracerPid:\t{tracing.pid}" in status(task) for task in tasks(pid)]
            yield
        finally:
            tracing.kill()  # it can wait forever for a process that has ended


def tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def status(task: Path) -> str:
    try:
        return (task / "status").read_text(encoding="ascii")
    except OSError:
        return ""  # it has ended


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_it_does_not_start_without_a_ledger_and_says_why(
    fault: str, disk: Path, tmp_path: Path
) -> None:
    document = tmp_path / "sessions.json"
    write_document(document, BEFORE)
    if fault == "full":
        fill(disk)
    else:
        assert mount("-o", "remount,ro", disk).returncode == 0
    ledger = f"sqlite:///{disk}/ledger.db"
    with ForkedProgram(
        *("serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"),
        *("--source", f"document:{document}", "--ledger", ledger),
    ) as program:
        assert program.wait() == 2
    assert f"{disk}/ledger.db" in program.output
    assert {"full": "No space left", "read-only": "Read-only file system"}[fault] in program.output
    assert "Traceback" not in program.output


def sessions(serving: Serving) -> dict[str, Any]:
    answer = httpx.get(f"http://{serving.http}/v1/sessions", timeout=PATIENCE)
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


def ids(document: dict[str, Any]) -> dict[str, str]:
    """Return ids by user: which session is which."""
    return {one["attributes"]["user"]: one["id"] for one in document["data"]}


def await_sessions(serving: Serving, count: int) -> dict[str, Any]:
    """Return the answer once it has that many sessions, and misses no source."""

    def whole(found: dict[str, Any]) -> bool:
        return len(found["data"]) == count and "unreachable" not in found.get("meta", {})

    return await_answer(serving, whole)


def await_failure(serving: Serving, why: str) -> None:
    """Wait until the source cannot be read for a reason; it may fail for others before."""

    def last_error() -> str:
        source = httpx.get(f"http://{serving.http}/v1/sources/app", timeout=PATIENCE).json()
        return str(source["data"]["attributes"].get("last_error"))

    eventually(last_error, lambda said: re.search(why, said))
    found = await_answer(serving, lambda found: "unreachable" in found.get("meta", {}))
    assert found["meta"]["unreachable"] == ["app"], serving.output


def await_answer(serving: Serving, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return eventually(lambda: sessions(serving), holds)


def test_a_full_disk_for_temporary_files_costs_metrics_only(disk: Path) -> None:
    arguments = "--source", "synthetic:?sessions=3"
    with (
        Forked(*arguments, "--metrics", "127.0.0.1:0", TMPDIR=str(disk)) as serving,
        httpx.Client(base_url=f"http://{serving.http}", timeout=PATIENCE) as http,
    ):
        assert http.get("/v1/sessions").status_code == 200
        fill(disk)
        for number in range(20):  # each creates new series, in pages not used yet
            for method in ("GET", "HEAD", "OPTIONS"):
                for path in ("/v1/sessions", "/v1/sources", f"/v1/sessions/{number}", "/readyz"):
                    assert http.request(method, path).status_code < 500
        assert "ended with" not in serving.output
        [worker] = serving.workers()
        worker.kill()
        serving.expect(r"metrics are not shown: \S+: No space left on device")
        with httpx.Client(base_url=http.base_url, timeout=PATIENCE) as anew:
            assert anew.get("/v1/sessions").status_code == 200
