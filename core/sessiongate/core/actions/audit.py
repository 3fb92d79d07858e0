"""The audit log: a line of JSON for each attempt to act on a session, and what became of it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sessiongate.core.errors import AuditUnavailableError
from sessiongate.runtime.daemon_thread import HangsError, in_daemon_thread
from sessiongate.runtime.telemetry.logs import fields
from sessiongate.runtime.watched_file import FileError, in_time, refuse_what_is_no_file

log = logging.getLogger("core.audit")

_MODE = 0o640
_HANGS = "the file system does not respond"
_TIMEOUT = 2.0  # seconds that a line may take to be on the disk
_OF_ANY_LINE = ("time", "request_id")


class AuditLog:
    """Appends lines to a file, which may be renamed at any time; without one, to the log.

    A line is in the file, on its disk, before `write` returns.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._one_by_one = asyncio.Lock()

    def check(self) -> None:
        """Raise `FileError` if nothing can be appended to the file."""
        path = self._path
        if path is None:
            return
        try:
            in_time(lambda: os.close(_open(path)), path)
        except OSError as error:
            raise FileError(f"audit_log: {path} cannot be written: {error.strerror}") from None
        except FileError as error:
            raise FileError(f"audit_log: {error}") from None

    async def write(self, message: str, members: Mapping[str, object]) -> None:
        """Write a line. Raises `AuditUnavailableError`; then the log has the line."""
        path = self._path
        if path is None:
            log.warning("%s", message, extra=_extra(members))  # at almost any level
            return
        line = json.dumps(members).encode() + b"\n"
        try:
            async with self._one_by_one, asyncio.timeout(_TIMEOUT):
                await in_daemon_thread(self, lambda: _append(path, line))
        except (OSError, FileError, HangsError) as error:  # TimeoutError is an OSError
            cause = getattr(error, "strerror", None) or str(error) or _HANGS
            text = "%s; the audit log cannot be written: %s"
            log.error(text, message, cause, extra=_extra(members))
            raise AuditUnavailableError(
                "nothing was done, because the core cannot write its audit log; its log has the"
                " cause"
            ) from None


def _extra(members: Mapping[str, object]) -> Mapping[str, Mapping[str, object]]:
    """Return what a line of the log does not have already."""
    return fields(**{name: each for name, each in members.items() if name not in _OF_ANY_LINE})


def _append(path: Path, line: bytes) -> None:
    """Append a line to a file, all of it or nothing."""
    descriptor = _open(path)
    try:
        before, written = os.fstat(descriptor).st_size, 0
        try:
            while written < len(line):
                written += os.write(descriptor, line[written:])
            os.fsync(descriptor)
        except OSError:
            # A full disk took a part of it, to which the next line would be appended.
            with suppress(OSError):
                if os.fstat(descriptor).st_size == before + written:  # nobody else appends
                    os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    descriptor = os.open(path, flags, _MODE)
    try:
        refuse_what_is_no_file(path, os.fstat(descriptor))  # it would be on no disk
    except FileError:
        os.close(descriptor)
        raise
    return descriptor
