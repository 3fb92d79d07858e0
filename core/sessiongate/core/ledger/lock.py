"""The lock by which only one core uses a ledger."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from sessiongate.runtime.watched_file import FileError, refuse_what_is_no_file


class LedgerError(Exception):
    """The ledger cannot be opened or written; the text names it and the cause."""


class LedgerRefusalError(LedgerError):
    """The ledger does not fit the configuration: to try again would not help."""


class LedgerHeldError(LedgerError):
    """Another core uses the ledger; the text names that core."""


def _lock_file(path: Path) -> int:
    """Open the lock file, for this user only whatever the umask; follow no symbolic link."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(path, flags, 0o600)
    os.fchmod(file, 0o600)
    return file


def refuse_what_is_no_ledger(path: Path) -> None:
    """Raise `LedgerError` if something other than a file is at a ledger's path."""
    if _is_planted(path):
        raise LedgerError(f"{path} is another user's symbolic link in a world-writable folder")
    try:
        refuse_what_is_no_file(path, os.stat(path))
    except FileError as error:
        raise LedgerError(str(error)) from None
    except OSError:
        pass  # it does not exist yet, or opening it reports the fault


def _is_planted(path: Path) -> bool:
    """Return whether a path is a link that Linux would not follow (``fs.protected_symlinks``)."""
    try:
        link, folder = os.lstat(path), os.stat(path.parent)
    except OSError:
        return False
    shared = stat.S_ISVTX | stat.S_IWOTH
    is_shared = folder.st_mode & shared == shared
    own = (os.geteuid(), folder.st_uid)
    return stat.S_ISLNK(link.st_mode) and is_shared and link.st_uid not in own


def take_lock(path: Path) -> IO[bytes]:
    """Lock the ledger for this process; the lock file names the holder."""
    refuse_what_is_no_ledger(path)  # otherwise it would be set aside as corrupt
    name = Path(f"{path.resolve()}.lock")  # one file has one lock, under any name
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = stack.enter_context(open(_lock_file(name), "r+b", buffering=0))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().decode(errors="replace").strip() or "another core"
                raise LedgerHeldError(f"the ledger {path} is in use by {holder}") from None
            lock.truncate(0)
            lock.write(f"the core with process id {os.getpid()} on {socket.gethostname()}".encode())
        except OSError as error:
            raise LedgerError(f"the ledger {path} cannot be locked: {error.strerror}") from error
        stack.pop_all()  # stays open until the process ends
        return lock
