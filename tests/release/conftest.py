"""The release that all tests use, built once from the last commit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.release.machine import LONG, ROOT


def build(out: Path, *arguments: str) -> Path:
    """Build a release as `make release` does."""
    subprocess.run(
        [sys.executable, "-m", "release", "--out", out, *arguments],
        cwd=ROOT,
        check=True,
        timeout=LONG,
    )
    return out


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a release: a new one, or the one that RELEASE_DIST names."""
    if made := os.environ.get("RELEASE_DIST"):
        return Path(made)
    return build(tmp_path_factory.mktemp("release") / "dist")
