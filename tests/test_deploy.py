"""The files in deploy/, checked by the programs that read them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

from tests.core.documentation import block
from tests.program import COMMAND, PATIENCE
from tests.servers import require
from tests.snippets import texts

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
UNIT = DEPLOY / "sessiongate.service"
MANUAL = DEPLOY.parent / "docs" / "operations.md"
# systemd's measure of what a service may do beyond its task, in tenths: 20 is "OK".
EXPOSURE = 20


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require("systemd-analyze", "systemd"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_unit_is_valid(tmp_path: Path) -> None:
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace("/opt/sessiongate/bin/sessiongate", str(COMMAND)))
    done = analyze("verify", "--man=no", here)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_enabled_as_documented(tmp_path: Path) -> None:
    (steps,) = texts("docs/operations.md", "sh", "Installing it as a service")
    assert steps.endswith("\nsystemctl daemon-reload && systemctl enable --now sessiongate\n")
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    shutil.copy(UNIT, units)
    # In a separate folder: no running systemd is involved.
    enable = [require("systemctl", "systemd"), f"--root={tmp_path}", "enable", "sessiongate"]
    subprocess.run(enable, check=True, capture_output=True, timeout=PATIENCE)
    assert (units / "multi-user.target.wants" / UNIT.name).is_symlink()


def test_the_unit_takes_the_documented_lines_for_haproxy(tmp_path: Path) -> None:
    """The lines of `systemctl edit`; their own test checks that HAProxy admits their group."""
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace("/opt/sessiongate/bin/sessiongate", str(COMMAND)))
    lines = tmp_path / f"{UNIT.name}.d" / "override.conf"
    lines.parent.mkdir()
    lines.write_text(block("HAProxy", "ini"))
    done = analyze("verify", "--man=no", here)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines.write_text(lines.read_text().replace("Groups=", "Group="))
    assert "SupplementaryGroup" in analyze("verify", "--man=no", here).stderr, "they are read"


def test_the_unit_is_a_sandbox() -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", UNIT)
    assert done.returncode == 0, done.stdout


def test_the_unit_starts_what_there_is() -> None:
    unit = RawConfigParser(strict=False)  # some keys of a unit accumulate
    unit.read_string(UNIT.read_text())
    program, command, *options = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == COMMAND.name
    told = subprocess.run(
        [COMMAND, command, "--help"], capture_output=True, text=True, timeout=PATIENCE, check=True
    ).stdout
    assert options[::2] == ["--config"]
    assert all(option in told for option in options[::2])


def test_the_unit_s_own_user_reads_what_only_root_may() -> None:
    """The manual installs the configuration for root alone; the service runs as another user."""
    unit = RawConfigParser(strict=False)
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert service["DynamicUser"] == "yes"
    name, _, file = service["LoadCredential"].partition(":")
    assert f"install -D -m 600 sessiongate.toml {file}\n" in MANUAL.read_text()
    assert service["ExecStart"].endswith(f"--config ${{CREDENTIALS_DIRECTORY}}/{name}")
