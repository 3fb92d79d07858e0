"""Programs of npm's registry, for the tests: pinned with their hashes, installed once.

To change them, edit tests/data/npm/package.json and run ``npm install --package-lock-only`` there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.kept import kept
from tests.program import PATIENCE

_DECLARED = Path(__file__).parent / "data" / "npm"
_QUIET = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error")
_VARIABLES = {
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    "npm_config_update_notifier": "false",
}


def node_modules() -> Path:
    """Return the folder of the installed packages; skip the test if there is no Node.js."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("there is no Node.js here")
    return kept("npm", (_DECLARED / "package-lock.json").read_bytes(), _install) / "node_modules"


def _install(folder: Path) -> None:
    shutil.copytree(_DECLARED, folder, dirs_exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        run("npm", "ci", *_QUIET, "--cache", cache, cwd=folder, timeout=5 * PATIENCE)


def run(
    *command: str | Path, cwd: Path, timeout: float = PATIENCE, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; fail with its output if it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **_VARIABLES, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{command}:\n{done.stdout}{done.stderr}", pytrace=False)
    return done
