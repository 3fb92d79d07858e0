"""A process that waits for a file system cannot be killed: it is reported, and left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from sessiongate.gateway.cli import left_behind, supervisor
from sessiongate.gateway.cli.left_behind import LeftBehindError
from sessiongate.gateway.cli.supervisor import Supervisor
from sessiongate.gateway.server import workers
from sessiongate.gateway.server.workers import WorkerPool
from tests.hanging import HangingFolder, hanging_folder
from tests.program import PATIENCE

SAID = "was killed but does not exit: it waits for a disk or a file system; leaving it behind"


def await_hanging(pid: int, folder: HangingFolder) -> None:
    """Wait until a process waits for the file in a folder, and cannot take that back."""
    folder.await_request("file")
    until = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}/wchan").read_text(encoding="ascii") != "request_wait_answer":
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_core_that_cannot_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with hanging_folder(tmp_path) as folder:
        (folder.path / "file").write_text("text")
        program = f"print('listening on x:1', flush=True); open('{folder.path}/file').read()"
        monkeypatch.setattr(supervisor, "COMMAND", (sys.executable, "-c", program))
        monkeypatch.setattr(supervisor, "_STOPPING", 0.1)
        monkeypatch.setattr(supervisor, "KILLED", 0.1)
        folder.hang()
        running = Supervisor({}, print)
        running.__enter__()
        children = psutil.Process().children()
        [core] = [child for child in children if child.cmdline()[-1] == program]
        await_hanging(core.pid, folder)
        with pytest.raises(LeftBehindError):
            running.__exit__(None, None, None)
        assert f"the core (process id {core.pid}) {SAID}" in caplog.text
        folder.answer()
        core.wait(PATIENCE)


def test_a_worker_that_cannot_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "REQUEST_GRACE", 0.0)
    monkeypatch.setattr(workers, "_SLACK", 0.1)
    monkeypatch.setattr(workers, "KILLED", 0.1)
    with hanging_folder(tmp_path) as folder:
        path = folder.path / "file"
        path.write_text("text")
        folder.hang()
        several = WorkerPool(partial(read, path), 1, lambda: None)

        def stop() -> None:
            try:
                await_hanging(several.processes()["worker 1"], folder)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        stopping = threading.Thread(target=stop)
        with pytest.raises(LeftBehindError):
            several.run(stopping.start)
        stopping.join()
        [_] = (record for record in caplog.records if SAID in record.getMessage())
        folder.answer()


def read(path: Path, ready: Connection) -> None:
    """Do work that hangs."""
    ready.send(None)
    path.read_text()


def test_who_leaves_a_process_behind_ends_with_1() -> None:
    pid = os.fork()
    if not pid:
        with left_behind.ending_without_them():
            raise LeftBehindError
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
