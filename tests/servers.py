"""Real servers for tests and the demonstration: installed if possible, started privately.

A kind of server builds on `Server`: it writes its configuration into a
`private_folder`, takes a `free_port`, and names the line that reports readiness.
They are ended by process id.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import psutil
import pytest

from tests.certificates import Authority
from tests.closing import Closing, lasting

# Seconds: no wait for a server is longer than this; what takes longer hangs.
PATIENCE = 60.0
# Where Debian puts servers that are not in everyone's path.
_FOLDERS = ("/usr/sbin", "/usr/lib/openssh", "/usr/lib/postgresql/*/bin")
_KEPT_LINES = 200
# The user of the servers if root runs the tests: some refuse to run as root.
_UNPRIVILEGED = "nobody"
_POLICY = Path("/usr/sbin/policy-rc.d")


_PORTS = range(20_000, 32_000)  # below those of net.ipv4.ip_local_port_range
# This process's part of them, if several run the tests.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_given: set[int] = set()  # which may not be listened on yet
_dice = random.SystemRandom()  # others may seed the usual one alike in all processes
_LOCK = Path(tempfile.gettempdir()) / "sessiongate-tests-install.lock"


class ServerError(Exception):
    """A server cannot be installed or does not start; the text has its last output."""


def require(binary: str, package: str) -> str:
    """Return the path of a program; install Debian's ``package`` if it is missing.

    If it cannot be installed (not root, no apt-get), skip the test, or fail it
    in CI: nothing is skipped there.
    """
    if found := find(binary):
        return found
    if can_install():
        install(package)
        found = find(binary)
        assert found, f"Debian's package {package} has no {binary}"
        return found
    reason = f"{binary} is missing: it is in Debian's package {package}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def can_install() -> bool:
    """Return whether Debian's packages can be installed: by root, with apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def find(binary: str) -> str | None:
    """Return the path of a program, also of one that is not in everyone's path."""
    places = [str(folder) for pattern in _FOLDERS for folder in Path("/").glob(pattern[1:])]
    return shutil.which(binary, path=os.pathsep.join([os.environ["PATH"], *sorted(places)]))


def install(package: str) -> None:
    """Install a package without starting its services; one process at a time."""
    with open(_LOCK, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _installed(package):
            _install_alone(package)


def _installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, check=False).stdout == b"installed"


def _install_alone(package: str) -> None:
    apt = ("apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={PATIENCE:.0f}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_services():
        for command in (("update",), ("install", "--no-install-recommends", package)):
            done = subprocess.run(
                [*apt, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                process_group=0,  # Ctrl-C must not leave a package half installed
            )
            if done.returncode:
                raise ServerError(f"apt-get {' '.join(command)} failed:\n{done.stdout}")


@contextmanager
def _no_services() -> Iterator[None]:
    """Tell the packages' scripts to start nothing, unless the machine has its own policy."""
    try:
        with _POLICY.open("x") as file:
            file.write("#!/bin/sh\nexit 101\n")
    except FileExistsError:
        yield
        return
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def account() -> str | None:
    """Return the user that servers run as; None for the current one."""
    return _UNPRIVILEGED if os.geteuid() == 0 else None


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder of the servers' user alone, its path short enough for Unix sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="sg-"))
    try:
        give(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def give(path: Path) -> Path:
    """Make the servers' user the owner of a file or folder that nobody else can read."""
    path.chmod(0o700 if path.is_dir() else 0o600)
    if user := account():
        shutil.chown(path, user)
    return path


def write(path: Path, text: str | bytes) -> Path:
    """Write a file with this content, owned by the servers' user."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return give(path)


def free_port() -> int:
    """Return a TCP port that is free now, for IPv4 and IPv6.

    It is none that the kernel gives to connections, or to servers with port 0, and none that this
    was called for before: another test could take it before the server does.
    """
    while True:
        port = _dice.choice(_PORTS[_WORKER::_WORKERS])
        if port in _given:
            continue
        with suppress(OSError):
            if not socket.has_dualstack_ipv6():
                probe = socket.create_server(("0.0.0.0", port))
            else:
                address = ("::", port)
                probe = socket.create_server(address, family=socket.AF_INET6, dualstack_ipv6=True)
            probe.close()
            _given.add(port)
            return port


@dataclass(frozen=True, slots=True)
class Certificates:
    """A certificate for this machine's names, its key, and the authority that signed it."""

    ca: Path
    cert: Path
    key: Path


def certificates(folder: Path, *names: str) -> Certificates:
    """Make an authority, and a certificate for ``names`` (by default, this machine's names)."""
    authority = Authority(folder)
    pair = authority.issue("server", *(names or ("localhost", "127.0.0.1", "::1")))
    folder.chmod(0o755)  # the tests read the authority's certificate, as every client may
    return Certificates(ca=authority.cert, cert=give(pair.cert), key=give(pair.key))


def prepare(*command: str | Path) -> None:
    """Run a program that makes a server's data, as `account`, until it ends."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        process_group=0,
        **_rights(account()),
    )
    if done.returncode:
        raise ServerError(f"{command[0]} failed:\n{done.stdout}")


class Server(Closing):
    """A server that runs as `account` and is ready once constructed; on exit, it has ended.

    ``ready`` is a regular expression for the line of its output that reports
    readiness. ``stop`` is the signal that ends it soon and in order; it gets that, too, when
    the thread that started it ends, for whatever reason. Ctrl-C at the terminal does not reach
    it. ``as_root`` is for a server that drops root's rights by itself, or needs this user's.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        ready: str,
        stop: signal.Signals = signal.SIGTERM,
        environment: Mapping[str, str] | None = None,
        as_root: bool = False,
    ) -> None:
        self._stop = stop
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._ready = threading.Event()  # or ended: whichever comes first
        self._said_so = False
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", stop.name[3:], "--", *(str(part) for part in command)],
            env={**os.environ, **(environment or {})},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
            **_rights(None if as_root else account()),
        )
        self._reader = threading.Thread(target=self._read, args=(re.compile(ready),))
        self._reader.start()
        self._ready.wait(PATIENCE)
        if not self._said_so:
            self.kill()
            raise ServerError(f"{command[0]} did not get ready:\n{self.output}")

    def _read(self, ready: re.Pattern[str]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._lines.append(line)
                if not self._said_so and ready.search(line):
                    self._said_so = True
                    self._ready.set()
        self._ready.set()

    @property
    def output(self) -> str:
        """The last lines that it printed."""
        return "".join(tuple(self._lines))

    def processes(self) -> list[psutil.Process]:
        """Return the server's process and all that it started."""
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def suspend(self) -> None:
        """Stop every process (SIGSTOP): connections stay, and nothing answers."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """Resume every process."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def kill(self) -> None:
        """End every process at once (SIGKILL)."""
        if self.process.poll() is None:
            left = self.processes()
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait(PATIENCE)
            lasting(left, PATIENCE)
        self._reader.join(PATIENCE)

    def close(self) -> None:
        """End it in order, whatever was done to it."""
        if self.process.poll() is None:
            self.resume()
            self.process.send_signal(self._stop)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
        self.kill()


class _Rights(TypedDict, total=False):
    user: str
    group: int
    extra_groups: list[str]


def _rights(user: str | None) -> _Rights:
    """Return how to start a program as this user; None for the current one."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def has_ipv6() -> bool:
    """Return whether this machine has IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
