"""Measured programs: started, awaited by their output, and ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
# Seconds; a program that takes longer to start or to end hangs.
PATIENCE = 60.0


class BenchError(Exception):
    """Measuring is impossible, or a response is wrong; the text gives the cause."""


class Program:
    """A running program and its child processes."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = " ".join(command[:3])
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def expect(self, pattern: str, patience: float = PATIENCE) -> str:
        """Wait for a line that matches; return the first group of the first one."""

        def found() -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, line) for line in self._lines)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, patience)
            match = found()
        if match is None:
            raise BenchError(f"{self.name} printed nothing like {pattern!r}:\n{self.output}")
        return match[1]

    @property
    def output(self) -> str:
        """The end of its output."""
        return "\n".join(self._lines[-20:])

    def processes(self) -> list[psutil.Process]:
        """Return the program's process and its running descendants."""
        mine = psutil.Process(self._process.pid)
        return [mine, *mine.children(recursive=True)]

    def cpu(self) -> float:
        """Return the CPU seconds that these processes have taken."""
        return sum(_cpu(process) for process in self.processes())

    def stop(self) -> None:
        """End the program and its descendants."""
        if self._process.poll() is not None:
            return
        left = self.processes()
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in psutil.wait_procs(left, timeout=5)[1]:
            process.kill()


@contextmanager
def running(command: Sequence[str], **variables: str) -> Iterator[Program]:
    """Run a program until the context ends."""
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SESSIONGATE_") and not name.lower().endswith("_proxy")
    }
    program = Program(command, {**mine, **variables})
    try:
        yield program
    finally:
        program.stop()


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system
