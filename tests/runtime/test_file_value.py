"""Values that follow their files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.file_value import FileError, FileValue, read_file
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
        FileValue([path], lambda: number(path))


def test_a_change_is_seen_when_it_is_time_to_look(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    value = FileValue([path], lambda: number(path), clock=clock)
    path.write_text("20")
    assert value.value == 1
    clock.now += 1
    assert value.value == 20


def test_a_file_that_is_replaced_is_seen(tmp_path: Path, clock: Clock) -> None:
    path, new = tmp_path / "number", tmp_path / "new"
    path.write_text("1")
    value = FileValue([path], lambda: number(path), clock=clock)
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

    value = FileValue([path], read, clock=clock)
    first = value.value
    clock.now += 10
    assert value.value is first
    assert len(reads) == 1


def test_a_change_that_cannot_be_read_is_logged_once_and_tried_again(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    value = FileValue([path], lambda: number(path), clock=clock)
    path.write_text("one")
    for _ in range(3):
        clock.now += 1
        assert value.value == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} holds no number; what it said before goes on"
    ]
    path.write_text("2")
    clock.now += 1
    assert value.value == 2


def test_a_file_that_goes_and_comes_back_as_it_was_is_read(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path, aside = tmp_path / "number", tmp_path / "aside"
    path.write_text("1")
    value = FileValue([path], lambda: number(path), clock=clock)
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
