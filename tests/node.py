"""Programs of npm's registry, for the tests: pinned with their hashes, installed once.

To change them, edit tests/data/npm/package.json and run ``npm install --package-lock-only`` there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

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
    lock = (_DECLARED / "package-lock.json").read_bytes()
    folder = Path(sys.prefix) / "npm" / hashlib.sha256(lock).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # other processes of this run want them too
        if not (folder / "complete").exists():
            shutil.copytree(_DECLARED, folder, dirs_exist_ok=True)
            with tempfile.TemporaryDirectory() as cache:
                run("npm", "ci", *_QUIET, "--cache", cache, cwd=folder, timeout=5 * PATIENCE)
            (folder / "complete").touch()
    return folder / "node_modules"


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
