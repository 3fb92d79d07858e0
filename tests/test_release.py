"""The decisions of `make release` without building: version, time, notes, settings, units.

What it builds is tried by `make release-test`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from release.debian import completion, own_unit, template_unit
from release.settings_file import settings_file
from release.version import Release, ReleaseError, epoch_of, notes_of, release_of
from tests.program import run

ROOT = Path(__file__).resolve().parent.parent
EPOCH = 1_700_000_000
CHANGELOG = """\
# Changelog

## [Unreleased]

### Added

- Later.

## [0.2.0] - 2026-12-01

- Now.

## [0.1.0] - 2026-11-01

- Before.
"""
RELEASED = CHANGELOG.replace("### Added\n\n- Later.\n", "")


@pytest.fixture(scope="module")
def release() -> Release:
    return release_of(ROOT, EPOCH)


def test_the_notes_are_the_version_s_section_of_the_changelog() -> None:
    assert notes_of("0.2.0", RELEASED) == "- Now.\n"
    assert notes_of("0.3.0.dev0", CHANGELOG) == "### Added\n\n- Later.\n"


@pytest.mark.parametrize(
    ("version", "changelog", "told"),
    [
        ("0.2.0", CHANGELOG, r"the newest section must be \[0\.2\.0\].* it is \[Unreleased\]"),
        ("0.1.0", RELEASED, r"the newest section must be \[0\.1\.0\].* it is \[0\.2\.0\]"),
        ("0.3.0.dev0", RELEASED, r"\[Unreleased\] must say what has changed; it is empty"),
        ("0.2.0", RELEASED.replace(" - 2026-12-01", ""), "must be headed .*YYYY-MM-DD"),
        ("0.2.0", "# Changelog\n", "it is missing"),
        ("0.2", RELEASED, "version '0.2' is not like 1.2.3 or 1.2.3.dev0"),
    ],
)
def test_a_version_without_notes_is_not_released(version: str, changelog: str, told: str) -> None:
    with pytest.raises(ReleaseError, match=told):
        notes_of(version, changelog)


def test_the_project_can_be_released(release: Release) -> None:
    assert release.notes.count("\n") > 1
    assert run("--version").stdout == f"sessiongate {release.version}\n"


@pytest.mark.parametrize(
    ("version", "debian"),
    [("0.2.0", "0.2.0"), ("0.2.0.dev3", "0.2.0~dev3"), ("0.2.0rc1", "0.2.0~rc1")],
)
def test_debian_sorts_what_comes_before_a_release_before_it(version: str, debian: str) -> None:
    assert Release(ROOT, {"version": version}, EPOCH, "").debian_version == debian


def test_the_time_is_that_of_the_last_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "17")
    assert epoch_of(ROOT) == 17
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ReleaseError, match="must be a number of seconds, got 'yesterday'"):
        epoch_of(ROOT)
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    with pytest.raises(ReleaseError, match="set SOURCE_DATE_EPOCH"):
        epoch_of(Path("/"))


def test_the_installed_settings_are_all_that_there_are_and_change_nothing() -> None:
    text = settings_file()
    assert tomllib.loads(text) == {}
    shown = re.findall(r"^#(\w+ = .*)$", text, re.MULTILINE)
    written = tomllib.loads("\n".join(shown))
    told = run("serve", "--help").stdout
    assert sorted(f"--{name.replace('_', '-')}" for name in written) == sorted(
        flag for flag in re.findall(r"^  (--[a-z-]+) ", told, re.MULTILINE) if flag != "--config"
    )
    assert (written["source"], written["http"], written["ui"]) == (
        ["host:"],
        "127.0.0.1:8989",
        True,
    )


def test_the_installed_defaults_are_accepted(tmp_path: Path) -> None:
    """Each line with a default, without its comment sign, is what a start takes."""
    file = tmp_path / "sessiongate.toml"
    shown = re.findall(r"^#(\w+ = .*)$", settings_file(), re.MULTILINE)
    defaults = [line for line in shown if not re.search(r'= \[?"[A-Z=]+"', line)]
    file.write_text("\n".join(line for line in defaults if not line.startswith("core_timeout")))
    done = run("check-config", "--config", file, XDG_STATE_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_s_units_are_the_unit_of_the_manual() -> None:
    unit = (ROOT / "deploy/sessiongate.service").read_text(encoding="utf-8")
    own, template = own_unit(unit), template_unit(unit)
    assert "\nExecStart=/usr/bin/sessiongate serve --config " in own
    assert "\nUser=sessiongate\nGroup=sessiongate\nStateDirectory=sessiongate\n" in own
    assert "\nUser=sessiongate\nGroup=sessiongate\nStateDirectory=sessiongate-%i\n" in template
    assert "\nRuntimeDirectory=sessiongate-%i\n" in template
    assert "=sessiongate.toml:/etc/sessiongate/%i.toml\n" in template
    assert "DynamicUser" not in own + template


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_completion(shell: str) -> None:
    assert "_SESSIONGATE_COMPLETE=" in completion(shell)


def test_a_part_that_there_is_not_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "release", "--only", "wheel"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert (
        "--only: must be of packages, contract, texts, sbom, deb, image, got wheel" in done.stderr
    )
