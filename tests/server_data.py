"""The data of a server that first starts: made by the server's own tools, or copied from that."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from tests.servers import give, prepare, private_folder, write

_FOLDER = "TESTS_SERVER_DATA"  # the environment's variable for where all processes keep them


@contextmanager
def making_data_once() -> Iterator[None]:
    """Until the context ends, make equal data only once, and copy them from then on.

    This is so in this process, and in those that it starts.
    """
    with private_folder() as folder:
        os.environ[_FOLDER] = str(folder)
        try:
            yield
        finally:
            del os.environ[_FOLDER]


def make_data(data: Path, *command: str | Path, secret: str = "") -> None:
    """Make a server's data, in a folder that does not exist yet.

    In the command, ``{data}`` stands for that folder, and ``{secret}`` for a file with a secret.
    """
    if kept := os.environ.get(_FOLDER):
        prepare("cp", "--archive", _made_once(Path(kept), command, secret), data)
        return
    with private_folder() as folder:
        _make(data, folder, command, secret)


def _made_once(kept: Path, command: Sequence[str | Path], secret: str) -> Path:
    """Return where such data are kept; make them unless this or another process has."""
    own = kept / sha256(repr((*map(str, command), secret)).encode()).hexdigest()
    with open(own.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (own / "made").exists():
            own.mkdir(exist_ok=True)
            _make(own / "data", give(own), command, secret)
            (own / "made").touch()
    return own / "data"


def _make(data: Path, folder: Path, command: Sequence[str | Path], secret: str) -> None:
    file = write(folder / "secret", secret)
    prepare(*(str(part).format(data=data, secret=file) for part in command))
