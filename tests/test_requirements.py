"""What a deployment installs: requirements.txt has it pinned and hashed, without tools."""

from __future__ import annotations

import re
import subprocess

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_packaging import NEEDED, ROOT

LOCK = (ROOT / "requirements.txt").read_text()


def pinned() -> dict[str, Requirement]:
    """Return what requirements.txt pins, by name."""
    pins = [Requirement(line.rstrip(" \\")) for line in LOCK.splitlines() if re.match(r"\w", line)]
    return {canonicalize_name(pin.name): pin for pin in pins}


def test_everything_needed_is_pinned_and_hashed() -> None:
    assert len(re.findall(r"^\w.*\\\n +--hash=sha256:[0-9a-f]{64}", LOCK, re.M)) == len(pinned())
    for pin in pinned().values():
        assert [each.operator for each in pin.specifier] == ["=="], pin


def test_the_pins_are_what_the_project_asks_for() -> None:
    for requirement in (*NEEDED["base"], *NEEDED["cli"], *NEEDED["server"]):
        pin = pinned()[canonicalize_name(requirement.name)]
        [version] = [each.version for each in pin.specifier]
        assert requirement.specifier.contains(version), f"run make lock: {requirement}"


def test_the_pins_name_no_index() -> None:
    assert "://" not in LOCK
    assert "--index" not in LOCK


def test_running_it_installs_no_tools_of_developers() -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "--always-make", "run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "'.[server]'" in planned
    assert "--group" not in planned
