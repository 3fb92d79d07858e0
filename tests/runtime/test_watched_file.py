"""Values that follow their files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sessiongate.runtime import watched_file
from sessiongate.runtime.daemon_thread import HangsError, within
from sessiongate.runtime.watched_file import (
    MAX_FILE_BYTES,
    FileError,
    Stamp,
    WatchedFile,
    read_file,
    read_handed_over,
)
from tests.hanging import hanging_folder
from tests.polling import eventually
from tests.program import PATIENCE
from tests.runtime.clock import Clock


def number(path: Path) -> int:
    try:
        return int(read_file(path))
    except ValueError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} holds no number") from None


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_file_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "absent"
    with pytest.raises(FileError, match=r"absent: no such file"):
        WatchedFile([path], lambda: number(path))


def test_a_change_is_seen_when_it_is_time_to_look(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    value = WatchedFile([path], lambda: number(path), clock=clock)
    path.write_text("20")
    assert value.value == 1
    clock.now += 1
    assert value.value == 20


def test_a_file_that_is_replaced_is_seen(tmp_path: Path, clock: Clock) -> None:
    path, new = tmp_path / "number", tmp_path / "new"
    path.write_text("1")
    value = WatchedFile([path], lambda: number(path), clock=clock)
    new.write_text("2")
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.rename(path)
    clock.now += 1
    assert value.value == 2


def test_without_a_change_nothing_is_read(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    reads = []

    def read() -> list[int]:
        reads.append(1)
        return [number(path)]

    value = WatchedFile([path], read, clock=clock)
    first = value.value
    clock.now += 10
    assert value.value is first
    assert len(reads) == 1


def test_a_change_that_cannot_be_read_is_logged_once_and_tried_again(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    value = WatchedFile([path], lambda: number(path), clock=clock)
    path.write_text("one")
    for _ in range(3):
        clock.now += 1
        assert value.value == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} holds no number; keeping the previous content"
    ]
    path.write_text("2")
    clock.now += 1
    assert value.value == 2


def test_a_file_that_goes_and_comes_back_as_it_was_is_read(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path, aside = tmp_path / "number", tmp_path / "aside"
    path.write_text("1")
    value = WatchedFile([path], lambda: number(path), clock=clock)
    path.rename(aside)
    clock.now += 1
    assert value.value == 1
    assert "number: no such file" in caplog.text
    aside.rename(path)
    clock.now += 1
    assert value.value == 1
    caplog.clear()
    clock.now += 1
    assert value.value == 1
    assert caplog.text == ""


def test_a_fallback_is_the_value_while_a_file_cannot_be_read(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path, aside = tmp_path / "number", tmp_path / "aside"
    path.write_text("1")
    value = WatchedFile([path], lambda: number(path), fallback=0, clock=clock)
    path.rename(aside)
    for _ in range(2):
        clock.now += 1
        assert value.value == 0
    assert caplog.text.count("number: no such file; it counts as empty") == 1
    aside.rename(path)
    clock.now += 1
    assert value.value == 1


def test_a_file_edited_in_place_is_seen_though_its_size_and_time_are_kept(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    kept = path.stat()
    value = WatchedFile([path], lambda: number(path), clock=clock)
    path.write_text("2")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    clock.now += 1
    assert value.value == 2


def test_a_second_change_within_a_tick_of_the_file_systems_clock_is_seen(
    tmp_path: Path, clock: Clock
) -> None:
    with hanging_folder(tmp_path) as folder:  # which has no ctime
        path = folder.path / "number"

        def is_seen() -> bool | None:
            """Return whether a second change is seen; None if it came too late to be missed."""
            path.write_text("1")
            kept = path.stat()
            value = WatchedFile([path], lambda: number(path), clock=clock)
            path.write_text("2")
            os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
            assert Stamp.of(path.stat()) == Stamp.of(kept)
            clock.now += 1
            return value.value == 2 or (None if time.time() > kept.st_mtime + 2 else False)

        assert eventually(is_seen, lambda seen: seen is not None)


def test_what_a_file_holds_decides_and_not_that_it_was_touched(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "number"
    path.write_text("1000")
    value = WatchedFile([path], lambda: number(path), clock=clock)
    first = value.value
    path.touch()
    clock.now += 1
    assert value.value is first
    path.unlink()
    clock.now += 1
    assert value.value is first
    path.write_text("1000")
    caplog.set_level("INFO")
    clock.now += 1
    assert value.value is first
    assert f"readable again, unchanged: {path}" in caplog.text


def test_a_file_system_that_is_slow_is_waited_for_once(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    waits = []

    def noted(seconds: float, of: WatchedFile[int], work: Callable[[], None]) -> None:
        waits.append(seconds)
        within(PATIENCE, of, work)

    def read() -> int:
        time.sleep(0.06 * (len(waits) < 4))
        return number(path)

    monkeypatch.setattr(watched_file, "_QUICK", 0.05)
    value = WatchedFile([path], read, clock=clock)
    monkeypatch.setattr(watched_file, "within", noted)
    for text in range(2, 8):
        path.write_text(f"{text}")
        clock.now += 1
        assert value.value == text
    assert waits[0] > 0, "who asks after a change meets the change"
    assert waits[1:4] == [0, 0, 0], "it was slow, so that nobody waits"


def test_files_that_do_not_answer_at_the_start_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_file, "_HANGS", 0.01)
    answers = threading.Event()
    path = tmp_path / "number"
    with pytest.raises(FileError, match=f"^{path}: the file system does not respond$"):
        WatchedFile([path], answers.wait)
    answers.set()


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, said in (
            (tmp_path / "pipe", "is a FIFO, not a regular file"),
            (tmp_path / "socket", "is a socket, not a regular file"),
            (Path("/dev/zero"), "is a device, not a regular file"),
            (tmp_path, "is a folder, not a file"),
        ):
            for read in (read_file, read_handed_over):
                with pytest.raises(FileError, match=f"^{path} {said}$"):
                    read(path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(FileError, match="large is larger than 16 MiB"):
        read_file(path)


def test_a_path_that_can_be_none_is_refused() -> None:
    with pytest.raises(FileError, match=r"^'a\\x00b' is not a valid path$"):
        read_file(Path("a\0b"))


def test_a_pipe_that_was_handed_over_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as file:
            file.write(b"text")
        assert read_handed_over(Path(f"/dev/fd/{reading}")) == b"text"
    finally:
        os.close(reading)


def test_a_fifo_in_its_place_leaves_the_value(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    value = WatchedFile([path], lambda: number(path), clock=clock)
    path.unlink()
    os.mkfifo(path)
    for _ in range(3):
        clock.now += 1
        assert value.value == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} is a FIFO, not a regular file; keeping the previous content"
    ]
    path.unlink()
    path.write_text("2")
    clock.now += 1
    assert value.value == 2


def test_a_file_system_that_hangs_leaves_the_value_and_one_thread(
    tmp_path: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watched_file, "_WAIT", 0.01)
    path = tmp_path / "number"
    path.write_text("1")
    answers, ended = threading.Event(), threading.Event()
    answers.set()

    def read() -> int:
        answers.wait()
        try:
            return number(path)
        finally:
            ended.set()

    value = WatchedFile([path], read, clock=clock)
    answers.clear()
    ended.clear()
    path.write_text("20")
    before = {*threading.enumerate()}  # of which some may end meanwhile

    def looking() -> set[threading.Thread]:
        return {*threading.enumerate()} - before

    for _ in range(9):
        clock.now += 1
        assert value.value == 1
    assert len(looking()) == 1
    hangs = f"{path}: the file system does not respond; keeping the previous content"
    assert [record.getMessage() for record in caplog.records] == [hangs]
    answers.set()
    ended.wait()
    while value.value == 1:
        clock.now += 1
    assert value.value == 20
    # Its folder is deleted soon: no thread may look at it any longer.
    eventually(lambda: not looking())


def test_what_a_reader_does_not_expect_leaves_the_value(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    value = WatchedFile([path], lambda: int(read_file(path)), clock=clock)
    path.write_text("one")
    for _ in range(3):
        clock.now += 1
        assert value.value == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} cannot be read; keeping the previous content"
    ]


def test_what_hangs_is_waited_for_once() -> None:
    answers = threading.Event()
    with pytest.raises(HangsError):
        within(0.01, "a place", answers.wait)
    with pytest.raises(HangsError):
        within(60, "a place", answers.wait)
    assert within(60, "another place", lambda: 5) == 5
    answers.set()
    while True:
        try:
            assert within(60, "a place", lambda: 6) == 6
            break
        except HangsError:
            continue


def test_what_is_raised_apart_is_raised_here() -> None:
    def fail() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        within(60, "a place", fail)


def test_what_hangs_holds_up_no_exit() -> None:
    program = """
import threading
from sessiongate.runtime.daemon_thread import HangsError, within
try:
    within(0.01, "a place", threading.Event().wait)
except HangsError:
    print("hangs")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=PATIENCE, check=True
    )
    assert ended.stdout == b"hangs\n"
