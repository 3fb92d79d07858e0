"""The real program, as its users start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import psutil
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests import forked
from tests.closing import Closing, lasting

BIN = Path(sys.executable).parent
COMMAND = BIN / "sessiongate"
DATA = Path(__file__).parent / "data"
DOCUMENT = f"document:{DATA / 'sessions.json'}"  # a source: the reference text's sessions
# Seconds: no wait of a test is longer than this; what takes longer hangs.
PATIENCE = 60.0


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without what would change the program."""
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SESSIONGATE_", "OTEL_")) and not name.lower().endswith("_proxy")
    }
    return {**mine, "XDG_CONFIG_HOME": "/nonexistent", **variables}  # no settings of one's own


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends: as itself, but without the time that its start takes."""
    return run_into(None, *arguments, **variables)


def run_given(text: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends, with a text in a pipe as its input."""
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as pipe:
        pipe.write(text)
    with Connection(reading, writable=False) as given:
        return _run(None, given, arguments, variables)


def run_into(
    device: Path | None, *arguments: object, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command with a device as its output, or return what it prints if that is None."""
    return _run(device, None, arguments, variables)


def _run(
    device: Path | None,
    given: Connection | None,
    arguments: Sequence[object],
    variables: Mapping[str, str],
) -> subprocess.CompletedProcess[str]:
    with TemporaryDirectory() as folder:
        printed, errors = Path(folder, "output"), Path(folder, "errors")
        typed = [*map(str, arguments)]
        streams = (device or printed, errors, given)
        code = _exit_code(forked.command, typed, environment(**variables), *streams)
        return subprocess.CompletedProcess(
            typed, code, "" if device else printed.read_text(), errors.read_text()
        )


def run_without_output(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as if its standard output had been closed when it was started."""
    with TemporaryDirectory() as folder:
        errors = Path(folder, "errors")
        typed = [*map(str, arguments)]
        code = _exit_code(forked.command_without_output, typed, environment(**variables), errors)
        return subprocess.CompletedProcess(typed, code, "", errors.read_text())


def typed(script: str, folder: Path, given: str = "", **variables: str) -> str:
    """Type a script of Bash in a folder; return its output. Each of its commands must succeed."""
    return output_of(["bash", "-euc", script], folder, given, **variables)


def output_of(command: Sequence[str], folder: Path, given: str = "", **variables: str) -> str:
    """Run a command in a folder, where it must succeed; return its output."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(**{"PATH": f"{BIN}:/usr/bin:/bin", **variables}),
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _exit_code(become: Callable[..., None], *how: object) -> int:
    """Let a process become a command; return its exit code when it has ended."""
    process = forked.FORKING.Process(target=become, args=how)
    process.start()
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired("sessiongate", PATIENCE)
    return process.exitcode


class Program(Closing):
    """A running ``sessiongate``, or another command of the repository.

    When closed, it and everything that it started are ended.
    """

    command: Sequence[str | Path] | None = None  # `COMMAND`, unless it is another
    started_in: Path | None = None  # the current folder
    is_forked = False  # from a process that has imported `COMMAND`

    def __init__(self, *arguments: object, **variables: str) -> None:
        self.process = self._start([*map(str, arguments)], environment(**variables))
        self._lines: list[str] = []
        self._read = 0  # lines that `expect` has passed
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._collect)
        self._reader.start()

    def _start(
        self, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[str] | forked.Command:
        if self.is_forked:
            return forked.Command(arguments, environment)
        return subprocess.Popen(
            [*(self.command or (COMMAND,)), *arguments],
            cwd=self.started_in,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,  # a separate process group, as in a terminal
        )

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """Its output so far."""
        return "\n".join(self._lines)

    def expect(self, pattern: str) -> re.Match[str]:
        """Return the next line that matches; fail if the program ends without one."""

        def found() -> re.Match[str] | None:
            while self._read < len(self._lines):
                self._read += 1
                if match := re.search(pattern, self._lines[self._read - 1]):
                    return match
            assert not self._ended, f"ended without {pattern!r}:\n{self.output}"
            return None

        with self._changed:
            match = self._changed.wait_for(found, PATIENCE)
        assert match, f"nothing matches {pattern!r}:\n{self.output}"
        return match

    def wait(self) -> int:
        """Return its exit code, once it and every writer to its output have ended."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._ended, "something that it started goes on"
        return code

    def interrupt(self) -> None:
        """Press Ctrl-C: the whole process group gets it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def children(self) -> list[psutil.Process]:
        """Return everything that it started and that still runs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def core(self) -> psutil.Process:
        """Return the core that it started."""
        (core,) = (child for child in self.children() if forked.program_of(child) == "core")
        return core

    def workers(self) -> list[psutil.Process]:
        """Return the processes that it started to answer HTTP."""
        return [child for child in self.children() if forked.program_of(child) == "worker"]

    def close(self) -> None:
        """End it, and everything that it started."""
        left = []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            with suppress(psutil.NoSuchProcess):  # it ends just now
                left = self.children()
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for process in lasting(left, 5.0):
            process.kill()
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Serving(Program):
    """A running ``sessiongate serve`` on free ports, ready to answer.

    Its ledger is in memory, unless ``--ledger`` is among the arguments.
    """

    def __init__(self, *arguments: object, **variables: str) -> None:
        listeners = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        variables = {"SESSIONGATE_LEDGER": "sqlite://", **variables}
        super().__init__("serve", *listeners, *arguments, **variables)
        try:
            self.http = self.expect(r"REST +http://(\S+)/v1/sessions$")[1]
            self.grpc = self.expect(r"gRPC +(\S+)$")[1]
            self.expect(r"Try +curl")
            await_ready(self.grpc)
        except BaseException:
            self.close()
            raise


class ForkedProgram(Program):
    """A `Program` for tests that are not about its start: it, its core and workers are forked."""

    is_forked = True


class Forked(Serving):
    """A `Serving` for tests of what it serves, not of how it starts: as a `ForkedProgram`."""

    is_forked = True


def await_ready(address: str) -> None:
    """Wait until the core at ``address`` reports that it serves."""
    with channel(address) as opened:
        stub: Any = HealthStub(opened)  # its stub file lacks the calls
        states = stub.Watch(HealthCheckRequest(), wait_for_ready=True, timeout=PATIENCE)
        for state in states:
            if state.status == HealthCheckResponse.SERVING:
                states.cancel()
                return
    raise AssertionError(f"the core at {address} ended before it served")


@contextmanager
def channel(address: str) -> Iterator[grpc.Channel]:
    """Open a channel that soon finds a server that has come back."""
    options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(address, options) as opened:
        yield opened
