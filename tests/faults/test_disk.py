"""The ledger's disk, full or read-only: named, survived, and no id given twice."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.documents import write_document
from tests.program import PATIENCE, Program, Serving

BEFORE, MORE = 10, 3000  # sessions


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 4 MiB."""
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
    """Leave no room; the file that takes it."""
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
    with Serving(*arguments) as serving:
        first = ids(await_sessions(serving, BEFORE))

        filler = fill(disk)
        write_document(document, MORE)
        assert "full" in await_failure(serving)
        assert ids(sessions(serving)) == first, "what was shown stays, and nothing else is"
        filler.unlink()
        second = ids(await_sessions(serving, MORE))
        assert second.items() >= first.items()
        assert len(set(second.values())) == MORE
        assert "Traceback" not in serving.output
    assert {path.name for path in disk.iterdir()} <= {"ledger.db", "ledger.db.lock"}


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
    with Program(
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
    """Ids by user: which session is which."""
    return {one["attributes"]["user"]: one["id"] for one in document["data"]}


def await_sessions(serving: Serving, count: int) -> dict[str, Any]:
    """The answer once it has so many sessions, and misses no source."""

    def whole(found: dict[str, Any]) -> bool:
        return len(found["data"]) == count and "unreachable" not in found.get("meta", {})

    return await_answer(serving, whole)


def await_failure(serving: Serving) -> str:
    """Why the source cannot be read, once that is so."""
    found = await_answer(serving, lambda found: "unreachable" in found.get("meta", {}))
    assert found["meta"]["unreachable"] == ["app"]
    source = httpx.get(f"http://{serving.http}/v1/sources/app", timeout=PATIENCE).json()
    return str(source["data"]["attributes"]["last_error"])


def await_answer(serving: Serving, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while not holds(found := sessions(serving)):
        assert time.monotonic() < deadline, (len(found["data"]), found.get("meta"))
    return found
