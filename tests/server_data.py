"""What servers have when they first start: made by their own tools, or copied from that."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers import give, prepare, private_folder, write


class _Kept:
    """Data that were made, by command and secret, and the folder for more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[tuple[Sequence[str | Path], str], Path] = {}


_kept: _Kept | None = None


@contextmanager
def making_data_once() -> Iterator[None]:
    """Until the context ends, make equal data only once, and copy them from then on."""
    global _kept
    with private_folder() as folder:
        _kept = _Kept(folder)
        try:
            yield
        finally:
            _kept = None


def make_data(data: Path, *command: str | Path, secret: str = "") -> None:
    """Make a server's data, in a folder that does not exist yet.

    In the command, ``{data}`` stands for that folder, and ``{secret}`` for a file with a secret.
    """
    if _kept is None:
        with private_folder() as folder:
            _make(data, folder, command, secret)
        return
    key = (command, secret)
    if key not in _kept.made:
        own = give(Path(tempfile.mkdtemp(dir=_kept.folder)))
        _make(own / "data", own, command, secret)
        _kept.made[key] = own / "data"
    prepare("cp", "--archive", _kept.made[key], data)


def _make(data: Path, folder: Path, command: Sequence[str | Path], secret: str) -> None:
    file = write(folder / "secret", secret)
    prepare(*(str(part).format(data=data, secret=file) for part in command))
