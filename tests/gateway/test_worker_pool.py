"""A pool of workers of which one hangs at its start."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from sessiongate.gateway.server import workers
from sessiongate.gateway.server.workers import WorkerPool
from tests.forked import program_of
from tests.polling import eventually


def test_a_new_worker_that_hangs_is_given_up_and_the_next_one_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hangs = tmp_path / "hangs"
    pool = WorkerPool(partial(work, hangs, tmp_path), 1, lambda: None)
    served: list[int] = []

    def renew() -> None:
        first = eventually(lambda: ready(tmp_path))
        hangs.touch()
        monkeypatch.setattr(workers, "_START", 0.1)
        pool.renew()
        eventually(lambda: "new worker 1 was not ready within 0.1 seconds" in caplog.text)
        served.append(pool.processes()["worker 1"])
        assert {*served} == first
        # Nothing of it is left.
        eventually(lambda: running() == first)
        hangs.unlink()
        monkeypatch.setattr(workers, "_START", 60.0)
        pool.renew()
        eventually(lambda: ready(tmp_path) - first == {pool.processes()["worker 1"]})
        served.append(pool.processes()["worker 1"])

    run(pool, renew)
    assert len({*served}) == 2


def test_a_first_worker_that_hangs_is_given_up_and_another_one_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hangs = tmp_path / "hangs"
    hangs.touch()
    pool = WorkerPool(partial(work, hangs, tmp_path), 1, lambda: None)
    monkeypatch.setattr(workers, "_START", 0.1)
    monkeypatch.setattr(workers, "_TRIES", 1000)

    def mend() -> None:
        eventually(lambda: "worker 1 was not ready within 0.1 seconds; st" in caplog.text)
        monkeypatch.setattr(workers, "_START", 60.0)
        hangs.unlink()
        found = eventually(lambda: ready(tmp_path))
        eventually(lambda: running() == found == {pool.processes().get("worker 1")})

    run(pool, mend)
    assert ready(tmp_path)
    assert not running()


def test_a_pool_whose_first_workers_all_hang_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hangs = tmp_path / "hangs"
    hangs.touch()
    pool = WorkerPool(partial(work, hangs, tmp_path), 2, lambda: None)
    monkeypatch.setattr(workers, "_START", 0.1)
    monkeypatch.setattr(workers, "_PAUSE", 0.0)
    with pytest.raises(SystemExit) as ended:
        pool.run(lambda: None)
    assert ended.value.code == 1
    assert "workers keep failing to start; the last one was not ready in time" in caplog.text
    assert not running()


def run(pool: WorkerPool, meanwhile: Callable[[], None]) -> None:
    """Run a pool until something that is done meanwhile has ended."""

    def do() -> None:
        try:
            meanwhile()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=do)
    pool.run(thread.start)
    thread.join()


def work(hangs: Path, folder: Path, pipe: Connection) -> None:
    """Serve until SIGTERM, unless a file says to hang at the start."""
    while hangs.exists():
        time.sleep(1)
    (folder / f"{os.getpid()}.ready").touch()
    pipe.send(None)
    signal.pause()


def ready(folder: Path) -> set[int]:
    """Return the process ids of the workers that were ready."""
    return {int(path.stem) for path in folder.glob("*.ready")}


def running() -> set[int]:
    """Return the process ids of all workers of this process."""
    return {each.pid for each in psutil.Process().children() if program_of(each) == "worker"}
