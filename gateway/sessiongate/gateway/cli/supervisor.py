"""The core as a separate program: ``python -P -m sessiongate.core``.

It reads its settings, one line of JSON, from standard input, so that its arguments contain
no secret, and prints the address that it listens on to standard output. It exits with 0
when it is stopped, and with `EXIT_UNRECOVERABLE` if a restart would not help.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from types import TracebackType
from typing import IO, NoReturn, cast

from sessiongate.gateway.cli.left_behind import KILLED, LeftBehindError, report_left_behind
from sessiongate.runtime.exit_codes import EXIT_UNRECOVERABLE
from sessiongate.runtime.telemetry.logs import escaped

COMMAND = (sys.executable, "-P", "-m", "sessiongate.core")
_LISTENING = b"listening on "
# Seconds: the first pause before a restart, the longest pause, how long a core must run
# before the pauses start over, and how long it may take to stop (longer than the grace
# period of its calls).
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_STEADY = 30.0
_STOPPING = 10.0

Settings = Mapping[str, object]
Report = Callable[[str], None]


class CoreStartError(Exception):
    """The core did not start; its standard error has the cause."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the core {_ending(code)} before it listened")
        self.code = code


def _need_servers() -> None:
    """Raise `ModuleNotFoundError` here, not in the core, if only the command is installed."""
    if find_spec("prometheus_client") is None:
        raise ModuleNotFoundError(name="prometheus_client")


def become_core(settings: Settings) -> NoReturn:
    """Replace this program with a core. Raises `OSError` if the settings are too long."""
    _need_servers()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # nobody reads yet: too long a line must not hang
    line = _line(settings)
    if os.write(writing, line) < len(line):
        raise OSError("the settings are too long")
    os.close(writing)
    os.dup2(reading, 0)
    # Python would print a trace on Ctrl-C while it starts. The core unblocks it later.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.execv(COMMAND[0], COMMAND)  # noqa: S606 - no shell is wanted


def check_core_settings(settings: Settings) -> list[str]:
    """Have a core's program check settings; return the faults, one per line."""
    _need_servers()
    checked = subprocess.run(  # noqa: S603 - a fixed command
        (*COMMAND, "check"), input=_line(settings), capture_output=True, check=False
    )
    lines = checked.stdout.decode(errors="replace").splitlines()
    if checked.returncode not in (0, EXIT_UNRECOVERABLE) or (
        checked.returncode == EXIT_UNRECOVERABLE and not lines
    ):
        lines.append(checked.stderr.decode(errors="replace").strip() or "the core's check failed")
    return lines


def keep_ledger(
    action: str, settings: Settings, *, shows_progress: bool = False
) -> tuple[str, str]:
    """Have a core's program do ``action`` on a ledger; return its result, and the fault, if any.

    Its progress goes to this program's standard error.
    """
    _need_servers()
    done = subprocess.run(  # noqa: S603 - a fixed command
        (*COMMAND, "ledger", action),
        input=_line(settings),
        stdout=subprocess.PIPE,
        stderr=None if shows_progress else subprocess.PIPE,
        check=False,
    )
    said = (done.stdout or done.stderr or b"").decode(errors="replace").strip()
    if not done.returncode:
        return said, ""
    return "", said or f"the core's program {_ending(done.returncode)}"


class Supervisor:
    """Runs a core from `__enter__` to `__exit__`, and restarts it when it exits.

    The first start must succeed. After that, whenever the core exits, it is restarted on
    the same address, whatever its exit code: the cause (another program on its port, a
    lock) may have gone away. The core exits when this process does, for whatever reason.
    """

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = {**settings, "exit_on_eof": True}
        self._report = report
        self._stop = threading.Event()
        self._spawning = threading.Lock()  # held while a core is spawned, and to prevent it
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self.address = ""  # where the core listens; never changes once it does

    def __enter__(self) -> Supervisor:
        """Start the core and wait until it listens. Raises `CoreStartError`."""
        try:
            address = self._launch()
            if address is None:
                raise CoreStartError(self._outlive())
        except BaseException:
            self._end()
            raise
        self.address = address
        self._settings |= {"grpc": address}  # for later starts
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the core, which first lets calls in progress finish.

        Raises `LeftBehindError` if it does not exit although killed.
        """
        self._end()
        self._thread.join()

    def _end(self) -> None:
        with self._spawning:
            self._stop.set()
        child = self._child
        if child is None:
            return
        child.terminate()
        try:
            child.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            child.kill()
            _await_killed(child)

    def _launch(self) -> str | None:
        """Start a core; return its address; None if it exits before it listens or may not start."""
        with self._spawning:
            if self._stop.is_set():
                return None
            # In a separate session: Ctrl-C is for this process, which stops the core last.
            self._child = child = subprocess.Popen(  # noqa: S603 - a fixed command
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        with suppress(BrokenPipeError):  # it exited at once: its exit code says why
            cast("IO[bytes]", child.stdin).write(_line(self._settings))
        for line in cast("IO[bytes]", child.stdout):
            if line.startswith(_LISTENING):
                return line.removeprefix(_LISTENING).decode().strip()
            _pass_on(line)
        return None

    def _outlive(self) -> int:
        """Wait until the core exits; return its exit code."""
        with cast("subprocess.Popen[bytes]", self._child) as child:
            for line in cast("IO[bytes]", child.stdout):  # sources may print: do not block them
                _pass_on(line)
        return child.returncode

    def _watch(self) -> None:
        failures = 0
        for start in itertools.count(1):
            began = time.monotonic()
            code = self._outlive()
            if self._stop.is_set():
                return
            failures = 1 if time.monotonic() - began > _STEADY else failures + 1
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**failures)
            pause *= random.uniform(0.5, 1)  # noqa: S311 - jitter
            self._report(f"the core {_ending(code)}; restarting it in {pause:.1f} s")
            if self._stop.wait(pause):
                return
            self._settings |= {"again": start}
            if self._launch():
                self._report(f"the core listens on {self.address} again")


def _await_killed(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(KILLED)
    except subprocess.TimeoutExpired:
        report_left_behind("the core", child.pid)
        raise LeftBehindError from None


def _line(settings: Settings) -> bytes:
    return json.dumps(settings).encode() + b"\n"


def _pass_on(line: bytes) -> None:
    sys.stderr.write(escaped(line.decode(errors="replace").rstrip("\n")) + "\n")


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with code {code}"
