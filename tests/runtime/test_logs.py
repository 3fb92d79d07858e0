"""How log lines look, and that nobody else can write one."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.runtime.telemetry.correlation import Correlation, current
from sessiongate.runtime.telemetry.logs import (
    Form,
    LogLine,
    LogLines,
    _Unblocked,
    fields,
    formatter,
)

LOGGER = "sessiongate.core.table.table"
TRACE = "0af7651916cd43dd8448eb211c80319c"
NASTY = 'x\r\n{"level": "info"}\x1b[2J\u2028\x00'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def line(form: Form, message: str, *arguments: object, **members: object) -> str:
    record = logging.makeLogRecord(
        {
            **{"name": LOGGER, "levelno": logging.WARNING, "levelname": "WARNING"},
            **{"created": 1_500_000_000.25, "msecs": 250.0, "msg": message, "args": arguments},
            **fields(**members),
        }
    )
    return formatter("core", form, io.StringIO()).format(record)


def test_a_json_line_has_what_is_known() -> None:
    assert json.loads(line("json", "%d gone", 3, source="a")) == {
        "time": "2017-07-14T02:40:00.250Z",
        "level": "warning",
        "program": "core",
        "logger": "sessiongate.core.table.table",
        "message": "3 gone",
        "source": "a",
    }


def test_a_text_line_is_for_people() -> None:
    assert line("text", "%d gone", 3, source="a b", status=200, path="/x") == (
        '2017-07-14T02:40:00.250Z WARNING core 3 gone source="a b" status=200 path=/x'
    )


@pytest.mark.parametrize("form", ["json", "text"])
def test_lines_of_one_record_look_like_those_of_many(form: Form) -> None:
    correlation = Correlation("abc", f"00-{TRACE}-b7ad6b7169203331-01")
    members = {"source": "a b", "seconds": 0.25, "user": NASTY}
    made = LogLine(1_500_000_000.25, "3 gone", correlation, members)
    lines = LogLines(LOGGER, logging.WARNING, [made, made._replace(correlation=None)])
    token = current.set(correlation)
    try:
        first = line(form, "%d gone", 3, **members)
    finally:
        current.reset(token)
    both = formatter("core", form, io.StringIO()).format(lines)
    assert both.split("\n") == [first, line(form, "%d gone", 3, **members)]


def test_auto_is_text_on_a_terminal_only() -> None:
    record = logging.makeLogRecord({"msg": "here"})
    assert formatter("core", "auto", Terminal()).format(record).endswith("core here")
    assert json.loads(formatter("core", "auto", io.StringIO()).format(record))["message"] == "here"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_names_the_request_that_it_belongs_to(form: Form) -> None:
    token = current.set(Correlation("abc", f"00-{TRACE}-b7ad6b7169203331-01"))
    try:
        made = line(form, "here")
    finally:
        current.reset(token)
    if form == "json":
        members = json.loads(made)
        assert (members["request_id"], members["trace_id"]) == ("abc", TRACE)
    else:
        assert made.endswith(f"here request_id=abc trace_id={TRACE}")
    assert "abc" not in line(form, "here")


@pytest.mark.parametrize("form", ["json", "text"])
@given(text=st.text() | st.just(NASTY))
def test_what_callers_send_stays_on_its_line(form: Form, text: str) -> None:
    made = line(form, "asked for %s", text, path=text)
    assert made.isprintable()
    assert len(made.splitlines()) == 1
    if form == "json":
        assert json.loads(made)["path"] == text


def failure() -> Any:
    try:
        raise ValueError(NASTY)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_s_own_text_forges_no_line(form: Form) -> None:
    record = logging.makeLogRecord({"msg": "failed", "exc_info": failure()})
    first, *rest = formatter("core", form, io.StringIO()).format(record).split("\n")
    assert "failed" in first
    assert all(each.startswith("    ") and each.isprintable() for each in rest)
    assert "ValueError: x" in (json.loads(first)["exception"] if form == "json" else "".join(rest))


def test_set_up_is_for_everything_in_the_program() -> None:
    program = """
import logging, warnings
from sessiongate.runtime.telemetry.logs import LogSettings, set_up_logs
set_up_logs("core", LogSettings(log_level="warning"))
logging.getLogger("a").info("not this")
logging.getLogger("b").warning("but this")
warnings.warn("and this")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["b", "py.warnings"]
    assert done.stdout == ""


def test_many_lines_are_written_in_pieces_that_a_pipe_takes_whole() -> None:
    program = """
import logging
from sessiongate.runtime.telemetry.logs import LogLine, LogLines, LogSettings, set_up_logs
set_up_logs("core", LogSettings(log_format="text"))
lines = [LogLine(0.25, f"line {number} " + "é" * 40, None, {}) for number in range(60)]
lines.append(LogLine(0.25, "longer than a piece: " + "x" * 5000, None, {}))
logging.getLogger("a").handle(LogLines("a", logging.INFO, lines))
logging.warning("alone")
"""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps pieces apart
    with ours:
        with theirs:
            command = [sys.executable, "-P", "-X", "utf8", "-c", program]
            running: subprocess.Popen[bytes] = subprocess.Popen(command, stderr=theirs.fileno())
        pieces = []
        while piece := ours.recv(65536):
            pieces.append(piece.decode())
        assert running.wait() == 0
    *short, long, alone = pieces
    numbers = [int(found) for found in re.findall(r"core line (\d+) é{40}\n", "".join(short))]
    assert numbers == [*range(60)]
    assert 1 < len(short) < 20
    assert all(piece.endswith("\n") and len(piece.encode()) <= 4096 for piece in short)
    assert re.fullmatch(
        r"1970-01-01T00:00:00.250Z INFO    core longer than a piece: x{5000}\n", long
    )
    assert alone.endswith("core alone\n")


ALONE = """
for number in range(2000):
    logging.warning(f"line {number} {'x' * 100}")
"""
TOGETHER = """
lines = [LogLine(0, f"line {number} {'x' * 100}", None, {}) for number in range(2000)]
logging.getLogger().handle(LogLines("a", logging.INFO, lines))
"""


@pytest.mark.parametrize("lines", [ALONE, TOGETHER], ids=["alone", "together"])
def test_a_file_gets_all_lines(lines: str, tmp_path: Path) -> None:
    program = f"""
import logging
from sessiongate.runtime.telemetry.logs import LogLine, LogLines, LogSettings, set_up_logs
set_up_logs("core", LogSettings(log_format="text"))
{lines}
"""
    with (tmp_path / "log").open("wb") as file:
        subprocess.run([sys.executable, "-P", "-c", program], stderr=file, check=True)
    written = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[4] for line in written] == [str(number) for number in range(2000)]


@pytest.mark.parametrize("lines", [ALONE, TOGETHER], ids=["alone", "together"])
def test_who_does_not_read_the_log_holds_nothing_up(lines: str) -> None:
    program = f"""
import logging
from sessiongate.runtime.telemetry.logs import LogLine, LogLines, LogSettings, set_up_logs
set_up_logs("core", LogSettings(log_format="text"))
{lines}
print("done", flush=True)
input()
logging.warning("read")
"""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == "done\n"
        first = [running.stderr.readline() for _ in range(100)]
        assert all(f"line {number} " in line for number, line in enumerate(first))
        running.stdin.write("\n")
        running.stdin.flush()
        rest = running.stderr.read()
    kept, lost, last = rest.splitlines()[:-2], *rest.splitlines()[-2:]
    assert f"lost {2000 - 100 - len(kept)} log lines: nobody read them" in lost
    assert "read" in last


def test_lost_lines_are_reported_in_a_piece_of_their_own() -> None:
    # Lines of 128 bytes, of which 32 fill a piece.
    lines = [LogLine(0, f"line {number:04} {'x' * 79}", None, {}) for number in range(3000)]
    pieces: list[str] = []

    def read() -> None:
        with suppress(BlockingIOError):
            while True:
                pieces.append(ours.recv(65536).decode())

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps pieces apart
    with ours, theirs, theirs.makefile("w") as stream:
        ours.setblocking(False)
        handler = _Unblocked(stream)
        handler.setFormatter(formatter("core", "text", stream))
        for some in (lines, lines[:60]):
            handler.emit(LogLines("a", logging.INFO, some))
            read()
    [report] = [piece for piece in pieces if " lost " in piece]
    kept = "".join(pieces).count("line ")
    assert f"lost {3000 + 60 - kept} log lines: nobody read them\n" in report
    assert max(len(piece) for piece in pieces) == 4096
