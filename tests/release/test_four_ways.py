"""Two of the four ways in, as docs/installation.md has them: `make run`, and pip.

The others are in test_deb.py and test_image.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.release.machine import (
    CLIENT,
    DESK,
    NEEDS_ROOT,
    Machine,
    fresh_root,
    lasting_ids,
    online,
)
from tests.snippets import texts

pytestmark = NEEDS_ROOT
_PAGE = "docs/installation.md"


@pytest.fixture
def root(tmp_path: Path, dist: Path) -> Path:
    """Return a minimal system with Python and make, and the release in its /root."""
    root = fresh_root(tmp_path, *DESK)
    shutil.copytree(dist, root / "root/dist")
    return root


@contextmanager
def serving(root: Path, command: str) -> Iterator[Machine]:
    """Run a line of shell in a system whose programs are connected to each other."""
    with Machine(root, "sleep", "infinity") as machine:
        machine.start(CLIENT)
        machine.start(f"cd /root; {command}")
        yield machine


def test_make_shows_that_machine_s_sessions(root: Path) -> None:
    (line,) = texts(_PAGE, "sh", "From the source")
    (sdist,) = (each for each in (root / "root/dist").glob("*.tar.gz") if "proto" not in each.name)
    folder = f"/root/{sdist.name.removesuffix('.tar.gz')}"
    online(root, f"set -e; cd /root; tar -xf dist/{sdist.name}; cd {folder}; make .venv/serving")
    with serving(root, f"cd {folder}; {line}") as machine:
        assert lasting_ids(machine, command=f"{folder}/.venv/bin/sessiongate")


def test_pip_shows_that_machine_s_sessions(root: Path) -> None:
    (lines,) = texts(_PAGE, "sh", "With pip")
    install, _, serve = lines.strip().rpartition("\n")
    online(root, f"set -e; cd /root; {install}")
    with serving(root, serve) as machine:
        assert lasting_ids(machine, command="/root/sessiongate/bin/sessiongate")
