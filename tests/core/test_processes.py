"""Processes are identified by more than their pid."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from sessiongate.core.sources.support.processes import Process, ProcessTable


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that ends when it is told to."""
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def test_a_process_is_visible_until_it_ends(child: subprocess.Popen[bytes]) -> None:
    processes = ProcessTable()
    actual = psutil.Process(child.pid)
    expected = {child.pid: Process(actual.name(), actual.create_time())}
    assert processes.look_up({child.pid}) == expected
    assert processes.look_up({child.pid}) == expected
    child.kill()
    child.wait()
    assert processes.look_up({child.pid}) == {}


class FakeProcess:
    """psutil's Process over a table that a test changes."""

    table: dict[int, Process]
    hidden: dict[int, Exception]
    opened: int

    def __init__(self, pid: int) -> None:
        if pid not in self.table:
            raise psutil.NoSuchProcess(pid)
        type(self).opened += 1
        self.pid = pid
        self.started = self.table[pid].start_time

    def is_running(self) -> bool:
        return self.pid in self.table and self.table[self.pid].start_time == self.started

    def create_time(self) -> float:
        return self.started

    def name(self) -> str:
        if self.pid in self.hidden:
            raise self.hidden[self.pid]
        return self.table[self.pid].name


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeProcess]:
    FakeProcess.table = {}
    FakeProcess.hidden = {}
    FakeProcess.opened = 0
    monkeypatch.setattr(psutil, "Process", FakeProcess)
    return FakeProcess


def test_a_pid_used_again_is_another_process(fake: type[FakeProcess]) -> None:
    processes = ProcessTable()
    for process in (Process("postgres", 100.0), Process("sshd", 200.0)):
        fake.table = {7: process}
        assert processes.look_up({7}) == {7: process}


def test_a_process_that_becomes_another_program_has_its_name(fake: type[FakeProcess]) -> None:
    processes = ProcessTable()
    for process in (Process("sh", 100.0), Process("postgres", 100.0)):
        fake.table = {7: process}
        assert processes.look_up({7}) == {7: process}


def test_a_process_is_opened_once_while_it_is_asked_for(fake: type[FakeProcess]) -> None:
    processes = ProcessTable()
    fake.table = {pid: Process("postgres", 100.0) for pid in (7, 8)}
    for pids in ({7, 8}, {7, 8}, {8}):
        processes.look_up(pids)
    assert fake.opened == 2
    processes.look_up({7})
    assert fake.opened == 3


@pytest.mark.parametrize(
    "error", [psutil.AccessDenied(7), ProcessLookupError(), ValueError("start"), IndexError()]
)
def test_one_hidden_process_hides_no_other(fake: type[FakeProcess], error: Exception) -> None:
    fake.table = {pid: Process("postgres", 100.0) for pid in (7, 8)}
    fake.hidden = {7: error}
    assert ProcessTable().look_up({7, 8, 9}) == {8: Process("postgres", 100.0)}


def test_a_pid_that_cannot_be_hides_no_other(child: subprocess.Popen[bytes]) -> None:
    assert set(ProcessTable().look_up({-1, 2**80, child.pid})) == {child.pid}


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a b\n", "a b?"), ("\x1b[2J", "?[2J"), ("\udcffdb", "?db"), ("数据库", "数据库")],
)
def test_a_name_can_always_be_shown(fake: type[FakeProcess], name: str, shown: str) -> None:
    fake.table = {7: Process(name, 100.0)}
    assert ProcessTable().look_up({7})[7].name == shown
