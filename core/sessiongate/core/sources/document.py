"""``document:PATH``: sessions of a JSON:API document in the documented form.

The file is read again when it changes. PATH may be percent-encoded, and is
relative to the working directory. Options: ``statements=true`` reads the
statements that the document holds; ``timezone=AREA/CITY`` is the zone of its local
times, which default to UTC.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from urllib.parse import unquote_to_bytes
from zoneinfo import ZoneInfo

from sessiongate.core.sources.base import (
    DEFAULT_MAX_SESSIONS,
    Observation,
    SourceConfig,
    SourceConfigError,
    SourceError,
)
from sessiongate.core.sources.support.endpoint import flag, zone
from sessiongate.core.sources.support.jsonapi_sessions import read_sessions
from sessiongate.core.sources.support.serverzone import ServerZone
from sessiongate.core.sources.support.session_times import DocumentTimes
from sessiongate.runtime.daemon_thread import HangsError, in_daemon_thread
from sessiongate.runtime.watched_file import FileError, Stamp, read_file, unreadable

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024

# Two writes within one tick of the file system's clock leave the same timestamp, so
# the file is read again on every look until this long after a change.
_SETTLED_NS = 2_000_000_000

# A whole number that every JSON parser reads exactly, in its only form.
_ID = re.compile("[1-9][0-9]{0,15}")
_MAX_ID = 2**53 - 1


class DocumentSource:
    """A document's sessions, observed when the file was last modified.

    An unchanged file is not read again: its observation is the same object, or
    its error the same text.
    """

    def __init__(
        self,
        path: str,
        *,
        statements: bool,
        zone: ZoneInfo | None = None,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        """Read the file at an absolute ``path``: the working directory may change.

        ``zone`` is the zone of local times; None: UTC. ``now`` is in ns since the epoch.
        """
        self._path = path
        self._name = os.fsencode(path).decode(errors="backslashreplace")  # for errors
        self._statements = statements
        self._most = 2 * max_sessions  # sessions to read: see `SessionList`
        self._zone = ServerZone(zone or ZoneInfo("UTC"))
        self._now = now
        # The stamp of the file that the result below was read from; None: read it again.
        self._stamp: Stamp | None = None
        # That stamp and a digest of the content, which may be unchanged when read again.
        self._read: tuple[Stamp, bytes] | None = None
        self._result: Observation | str = ""

    async def observe(self) -> Observation:
        """Return the file's current sessions. Raises `SourceError` with file and place."""
        try:
            result = await in_daemon_thread(self, self._look)
        except HangsError:  # since an earlier observation, which was abandoned
            raise SourceError(f"{self._name}: the file system does not respond") from None
        if isinstance(result, str):
            raise SourceError(result)
        return result

    async def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _look(self) -> Observation | str:
        """Read the file if it has changed; return an error's text if that fails."""
        try:
            found = os.stat(self._path)
            stamp = Stamp.of(found)
            if stamp == self._stamp:
                return self._result
            self._stamp = None
            # The stamp is taken before reading, so that the next look sees a change made meanwhile.
            content = read_file(Path(self._path), MAX_DOCUMENT_BYTES)
            read = stamp, blake2b(content).digest()
            if read != self._read:
                self._result = self._parse(content, found)
                self._read = read
            if abs(self._now() - stamp.changed) > _SETTLED_NS:
                self._stamp = stamp
        except (OSError, FileError) as error:
            if isinstance(error, OSError):
                error = unreadable(Path(self._path), error)
            self._read = None
            self._result = str(error).replace(self._path, self._name)
        return self._result

    def _parse(self, content: bytes, found: os.stat_result) -> Observation | str:
        times = DocumentTimes(found.st_mtime, self._zone)
        try:
            sessions, unreadable, partial = read_sessions(
                content, times, statements=self._statements, most=self._most
            )
        except SourceError as error:
            return f"{self._name}: {error}"
        for item in sessions:
            item.stated_id = _own_id(item.session.native_id)
        return Observation(sessions, unreadable=tuple(unreadable), partial=partial)


def _own_id(text: str) -> int | None:
    """Return the id that a document's session keeps if it is free; None if it cannot be ours."""
    return int(text) if _ID.fullmatch(text) and int(text) <= _MAX_ID else None


def has_login(location: str) -> bool:
    """Return whether a location has the form of a server's, and may hold a password."""
    return location.startswith("//") and not {*"@:"}.isdisjoint(location)


def open_source(config: SourceConfig) -> DocumentSource:
    """Open the document that a configuration names. Raises `SourceConfigError`."""
    config.take("statements", "timezone")
    path = os.fsdecode(unquote_to_bytes(config.location))
    if not path or "\0" in path or has_login(config.location):
        raise SourceConfigError(f"source {config.name}: the URL must be document:PATH")
    return DocumentSource(
        os.path.abspath(path),
        statements=flag(config, "statements"),
        zone=zone(config),
        max_sessions=config.max_sessions,
    )
