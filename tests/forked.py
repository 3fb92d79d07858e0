"""Programs in processes that need not import them: they are forked from one that has.

So are the cores and workers that such programs start, unless a test is about their start.
"""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import util
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import psutil

from sessiongate.runtime.descriptors import open_standard_streams
from tests.clocks import follow_own_clock

if TYPE_CHECKING:
    from sessiongate.gateway.settings import GatewayConfig

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["tests.warm"])
# Functions of this program's threads, and Python's, in which a thread waits without a lock: the one
# that looks at certificates now and then, and the one that waits for workers.
_RESTING = {"_follow", "select"}
_READING = 1.0  # seconds that the reading of files may take before a process is not forked


class Command:
    """A running command, with as much of `subprocess.Popen` as `tests.program.Program` uses."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        read, write = os.pipe()
        with Connection(write, readable=False) as output:
            self._process = FORKING.Process(
                target=_in_session, args=(arguments, environment, output)
            )
            self._process.start()
        self.stdout = os.fdopen(read, errors="backslashreplace")
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("sessiongate", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        # The server that forked it may have seen its end, and not have told it yet.
        with suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


def _in_session(
    arguments: Sequence[str], environment: Mapping[str, str], output: Connection
) -> None:
    """Become the command in a process group of its own, as in a terminal."""
    os.setsid()
    _become(arguments, environment, output.fileno(), output.fileno())


def command(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: Path,
    errors: Path,
    given: Connection | None,
) -> None:
    """Become the command, with this environment, these files as its output, and this input."""
    if given is not None:
        os.dup2(given.fileno(), 0)
        sys.stdin = os.fdopen(0, closefd=False)
    opened = [os.open(path, os.O_WRONLY | os.O_CREAT) for path in (output, errors)]
    _become(arguments, environment, *opened)


def command_without_output(
    arguments: Sequence[str], environment: Mapping[str, str], errors: Path
) -> None:
    """Become the command as if its standard output had been closed when it was started."""
    os.close(1)
    sys.stdout = None  # as Python does
    open_standard_streams()
    _become(arguments, environment, 1, os.open(errors, os.O_WRONLY | os.O_CREAT))


def at_terminal(
    arguments: Sequence[str], environment: Mapping[str, str], terminal: Connection
) -> None:
    """Become the command at a terminal, with this environment."""
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)  # getpass asks there
    os.dup2(terminal.fileno(), 0)
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)  # type: ignore[misc] # Textual's
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)  # by lines, as at a terminal
    _become(arguments, environment, terminal.fileno(), terminal.fileno())


def _become(
    arguments: Sequence[str], environment: Mapping[str, str], output: int, errors: int
) -> None:
    from sessiongate.gateway.__main__ import main

    os.dup2(output, 1)
    os.dup2(errors, 2)
    _set(environment)
    _fork_its_programs()
    sys.argv[1:] = arguments
    main()


def core(environment: Mapping[str, str], pipe: socket.socket) -> None:
    """Become a core, with this environment, and a pipe as its standard input and output."""
    for stream in (0, 1):
        os.dup2(pipe.fileno(), stream)
    from sessiongate.core.__main__ import main

    _set(environment)
    _name("core")
    sys.stdin = os.fdopen(0, closefd=False)
    sys.argv[1:] = []
    sys.exit(main())


def gateway(environment: Mapping[str, str], config: GatewayConfig, pipe: Connection) -> None:
    """Become a gateway, with this environment; send the address at which it listens."""
    from sessiongate.gateway.server.main import run_server

    _set(environment)
    _fork_its_programs()
    run_server(config, pipe.send)


def _set(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    if added := [*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]:
        from sessiongate.core.sources import base

        sys.path[:0] = added
        base._installed.cache_clear()  # there may be sources among them
    follow_own_clock(environment)
    time.tzset()  # to the zone of this environment


def program_of(process: psutil.Process) -> str:
    """Return "core" or "worker", whether it is forked or not, and "" for any other process."""
    try:
        # A process has no arguments for a moment after it begins to run its program.
        while not (typed := process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        name = process.name()
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
    except psutil.Error:  # it has ended
        return ""
    if name == "core" or typed[-2:] == ["-m", "sessiongate.core"]:
        return "core"
    return "worker" if name == "worker" or "spawn_main" in " ".join(typed) else ""


def _name(program: Literal["core", "worker"]) -> None:
    """Set what `psutil.Process.name` returns: a forked process has its parent's arguments."""
    Path("/proc/self/comm").write_text(program, encoding="ascii")


def _fork_its_programs() -> None:
    """From now on, let this process fork cores and workers rather than start Python, if it can."""
    subprocess.Popen = _Forking  # type: ignore[assignment, misc]
    execute, start = os.execv, util.spawnv_passfds

    def become(path: Any, typed: Any) -> NoReturn:
        if _starts_core(typed):
            _run_core(typed)
        execute(path, typed)

    def fork(path: Any, typed: Sequence[Any], kept: Sequence[int]) -> int:
        if "--multiprocessing-fork" not in typed or not _may_fork():
            return start(path, typed, kept)
        # A signal must not meet this process's handlers in the other.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            if (pid := os.fork()) == 0:
                _run_worker([os.fsdecode(each) for each in typed], kept, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    os.execv = become
    util.spawnv_passfds = fork  # type: ignore[assignment]


class _Forking(subprocess.Popen[Any]):
    """A `subprocess.Popen` that forks cores."""

    def __init__(self, typed: Any, *arguments: Any, **options: Any) -> None:
        if _starts_core(typed) and _may_fork():
            options["preexec_fn"] = partial(_run_core, typed)  # which never returns
        super().__init__(typed, *arguments, **options)


def _may_fork() -> bool:
    """Return whether no other thread may hold a lock, which would never be free in a copy.

    All rest, for nearly all of the time. Others read files, or serve metrics.
    """
    until = time.monotonic() + _READING
    others = [each for each in threading.enumerate() if each is not threading.current_thread()]
    # A thread that Python no longer has may still free what OpenSSL had for it, with a lock.
    while len(os.listdir("/proc/self/task")) > 1 + len(others) or not all(map(_rests, others)):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def _rests(thread: threading.Thread) -> bool:
    """Return whether a thread has ended, or waits for a core, for a worker, or for time to pass."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is None or thread.name == "supervisor" or frame.f_code.co_name in _RESTING


def _starts_core(typed: object) -> bool:
    from sessiongate.gateway.cli.supervisor import COMMAND

    return isinstance(typed, tuple) and typed[: len(COMMAND)] == COMMAND


def _run_core(typed: Sequence[str]) -> NoReturn:
    from sessiongate.core.__main__ import main
    from sessiongate.gateway.cli.supervisor import COMMAND

    _begin("core")
    sys.argv[1:] = typed[len(COMMAND) :]
    _end(main)


def _run_worker(typed: Sequence[str], kept: Sequence[int], blocked: set[int]) -> NoReturn:
    """Do what Python would do with these arguments of a process that multiprocessing spawns."""
    _begin("worker", *kept)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    sys.argv = ["-c", *typed[typed.index("-c") + 2 :]]
    code = typed[typed.index("-c") + 1]
    _end(lambda: exec(code, {"__name__": "__main__"}))


def _begin(program: Literal["core", "worker"], *kept: int) -> None:
    """Leave everything behind that a process does not have when Python starts in it."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    # Nothing of the parent's may be collected later: it would close what has its number then.
    gc.freeze()
    first = 3
    for descriptor in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        os.closerange(first, descriptor)
        first = descriptor + 1
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    _name(program)


def _end(run: Callable[[], int | None]) -> NoReturn:
    """Run a program, and exit as Python does; the parent's frames below do not go on."""
    code: object = 1
    try:
        code = run()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)
