"""A ledger whose disk hangs when a core starts: it says what it waits for, and can be stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import hanging
from tests.hanging import HangingFolder, hanging_folder
from tests.program import ForkedProgram, Program

SOURCES = "--grpc", "127.0.0.1:0", "--source", "synthetic:?sessions=3"
HANGS = r"still waiting for the ledger \(\S+ledger.db\): its disk hangs or is slow"


def opening(folder: HangingFolder) -> Program:
    return ForkedProgram("core", *SOURCES, "--ledger", f"sqlite:///{folder.path}/ledger.db")


@pytest.fixture(autouse=True)
def mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SQLite map its shared memory."""
    options = "passive,dir_cache=no,attr_timeout=0,entry_timeout=0"
    monkeypatch.setattr(hanging, "_OPTIONS", options)


@pytest.mark.long
def test_a_core_says_what_it_waits_for_and_goes_on(tmp_path: Path) -> None:
    with hanging_folder(tmp_path) as folder:
        folder.hang()
        with opening(folder) as core:
            core.expect(HANGS)
            folder.answer()
            core.expect("listening on")
            core.process.terminate()
            assert core.wait() == 0
        assert core.output.count("still waiting for the ledger") == 1


@pytest.mark.long
def test_a_core_that_waits_for_its_ledger_can_be_stopped(tmp_path: Path) -> None:
    with hanging_folder(tmp_path) as folder:
        folder.hang()
        with opening(folder) as core:
            core.expect(HANGS)
            core.process.terminate()
            core.expect("stopped before the ledger was open; exiting")
            folder.answer()
            assert core.wait() in (0, 1)  # it no longer waits for the ledger
