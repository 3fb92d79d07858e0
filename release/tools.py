"""Runs programs, and writes archives whose bytes depend on nothing but their contents."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

from release.version import ReleaseError

BIN = Path(sys.executable).parent


def run(
    *command: object, cwd: Path | None = None, epoch: int | None = None, stdin: str = ""
) -> str:
    """Run a program and return what it prints. Raises `ReleaseError` with what it says."""
    dated = {} if epoch is None else {"SOURCE_DATE_EPOCH": str(epoch)}
    words = [*map(str, command)]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            input=stdin,
            env={**os.environ, "LC_ALL": "C.UTF-8", **dated},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise ReleaseError(f"{words[0]} is not installed: see docs/releasing.md") from None
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise ReleaseError(f"{' '.join(words[:3])} … exited with {done.returncode}:\n{said}")
    return done.stdout


def tar_of(files: Iterable[tuple[str, bytes]], epoch: int) -> bytes:
    """Return a tar.gz with these files, of root, all of one time."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), epoch, 0o644
            archive.addfile(member, io.BytesIO(content))
    return zipped(packed.getvalue())


def zipped(content: bytes, level: int = 9) -> bytes:
    """Compress without a name and a time."""
    return gzip.compress(content, compresslevel=level, mtime=0)
