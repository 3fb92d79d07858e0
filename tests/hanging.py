"""A file system that can be made to hang: sshfs, with its server on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.program import PATIENCE
from tests.servers import require

# No caching: every answer comes from the server.
_OPTIONS = "passive,dir_cache=no,attr_timeout=0,entry_timeout=0,direct_io"


class HangingFolder:
    """A mounted folder, which answers until it is told to hang."""

    def __init__(
        self, path: Path, server: subprocess.Popen[bytes], received: socket.socket
    ) -> None:
        """Stop and continue ``server``, which reads requests from ``received``."""
        self.path = path
        self._server = server
        self._received = received

    def hang(self) -> None:
        """Stop all answers in the folder."""
        self._server.send_signal(signal.SIGSTOP)

    def await_request(self, name: str) -> None:
        """Wait until a request for a file has left the kernel.

        Before that, whoever makes it can be killed. The name tells it from what else may
        come: a file that was written before is closed without anybody waiting for it.
        """
        until = time.monotonic() + PATIENCE
        while f"/{name}".encode() not in self._unread():
            assert time.monotonic() < until, f"no request for {name} has come"
            time.sleep(0.01)

    def _unread(self) -> bytes:
        """Return what the stopped server has still to read."""
        with suppress(BlockingIOError):
            return self._received.recv(65536, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return b""

    def answer(self) -> None:
        """Let everything that waits be answered."""
        self._server.send_signal(signal.SIGCONT)


@contextmanager
def hanging_folder(folder: Path) -> Iterator[HangingFolder]:
    """Mount a folder within ``folder``."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("file systems cannot be mounted here: there is no /dev/fuse")
    server_path = require("sftp-server", "openssh-sftp-server")
    sshfs = require("sshfs", "sshfs")
    kept, path = folder / "kept", folder / "mounted"
    kept.mkdir()
    path.mkdir()
    ours, theirs = socket.socketpair()
    near, far = ours.fileno(), theirs.fileno()
    command = [sshfs, f":{kept}", str(path), "-f", "-o", _OPTIONS]
    with (
        ours,
        subprocess.Popen([server_path], stdin=near, stdout=near) as server,
        subprocess.Popen(command, stdin=far, stdout=far) as client,
    ):
        theirs.close()
        try:
            until = time.monotonic() + PATIENCE
            while not path.is_mount():
                assert client.poll() is None, "it is not mounted"
                assert time.monotonic() < until, "it is not mounted"
                time.sleep(0.05)
            yield HangingFolder(path, server, ours)
        finally:
            server.send_signal(signal.SIGCONT)
            client.terminate()
            client.wait(PATIENCE)
            server.terminate()
