"""The version, the time and the notes of a release, each from its one place.

The version is pyproject.toml's, the time is that of the last commit, and the notes are the
version's section of CHANGELOG.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECTION = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d{2}-\d{2}))?\n", re.MULTILINE)
_VERSION = re.compile(r"(\d+\.\d+\.\d+)(?:\.dev(\d+)|(a|b|rc)(\d+))?")
_UNRELEASED = "Unreleased"


class ReleaseError(Exception):
    """Nothing can be released; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Release:
    """One version of the project, from the folder of its source."""

    source: Path
    project: dict[str, Any]  # [project] of pyproject.toml
    epoch: int  # the time that everything is said to be made at, as in SOURCE_DATE_EPOCH
    notes: str

    @property
    def version(self) -> str:
        """Return the version as Python packages have it, such as 0.2.0 or 0.2.0.dev0."""
        return str(self.project["version"])

    @property
    def debian_version(self) -> str:
        """Return the version as Debian sorts it: what comes before a release has a tilde."""
        return re.sub(r"\.?(dev|a|b|rc)(?=\d+$)", r"~\1", self.version)

    @property
    def home(self) -> str:
        """Return the address of the project."""
        return str(self.project["urls"]["Homepage"])

    @property
    def maintainer(self) -> str:
        """Return who maintains the project, as Debian writes it."""
        (first, *_) = self.project["maintainers"]
        return f"{first['name']} <{first['email']}>"


def release_of(source: Path, epoch: int) -> Release:
    """Read what a folder's release is. Raises `ReleaseError`."""
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (source / "CHANGELOG.md").read_text(encoding="utf-8")
    return Release(source, project, epoch, notes_of(project["version"], changelog))


def notes_of(version: str, changelog: str) -> str:
    """Return a version's section of the changelog, which must be the newest.

    What is not yet a release has what is under Unreleased. Raises `ReleaseError`.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ReleaseError(f"pyproject.toml: version {version!r} is not like 1.2.3 or 1.2.3.dev0")
    wanted = version if found[1] == version else _UNRELEASED
    starts = [*_SECTION.finditer(changelog)]
    ends = [*(start.start() for start in starts[1:]), len(changelog)]
    sections = [
        (start[1], start[2], changelog[start.end() : end].strip())
        for start, end in zip(starts, ends, strict=False)
    ]
    if wanted != _UNRELEASED and sections and sections[0][0] == _UNRELEASED and not sections[0][2]:
        del sections[0]
    if not sections or sections[0][0] != wanted:
        newest = f"[{sections[0][0]}]" if sections else "missing"
        raise ReleaseError(
            f"CHANGELOG.md: the newest section must be [{wanted}], for the version {version!r} of"
            f" pyproject.toml; it is {newest}"
        )
    _, date, notes = sections[0]
    if not notes:
        raise ReleaseError(f"CHANGELOG.md: [{wanted}] must say what has changed; it is empty")
    if wanted != _UNRELEASED and date is None:
        raise ReleaseError(f"CHANGELOG.md: the section must be headed '## [{wanted}] - YYYY-MM-DD'")
    return notes + "\n"


def epoch_of(source: Path) -> int:
    """Return SOURCE_DATE_EPOCH, or else the time of the last commit. Raises `ReleaseError`."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        asked = ["git", "-C", str(source), "log", "-1", "--format=%ct"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        given = done.stdout.strip()
        if done.returncode:
            raise ReleaseError("not a git repository: set SOURCE_DATE_EPOCH, in seconds")
    if not given.isdecimal():
        raise ReleaseError(f"SOURCE_DATE_EPOCH must be a number of seconds, got {given!r}")
    return int(given)
