"""From 0.1, as its manual installed it, to Debian's package: every session keeps its id."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.polling import eventually
from tests.program import BIN
from tests.release.machine import (
    CLIENT,
    LONG,
    NEEDS_ROOT,
    ROOT,
    SERVER,
    Machine,
    fresh_root,
    lasting_ids,
    online,
)
from tests.snippets import texts

pytestmark = NEEDS_ROOT
# The last commit whose ledger is that of 0.1: after it, sessions of host: have other keys.
_COMMIT = "377f5c03d06e374d72a72aeb4651d1d3f1e0700f^"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return the source of 0.1, with its wheel in dist/."""
    archive: list[str | Path] = [
        "git",
        "-C",
        ROOT,
        "archive",
        "--output",
        tmp_path / "old.tar",
        _COMMIT,
    ]
    if subprocess.run(archive, capture_output=True, check=False).returncode:
        pytest.skip("this clone does not have the commits of 0.1")
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["tar", "-C", source, "-xf", tmp_path / "old.tar"], check=True)
    build: list[str | Path] = [BIN / "uv", "build", "--quiet", "--wheel", source]
    subprocess.run(build, check=True, timeout=LONG)
    return source


def by_rest(machine: Machine) -> dict[str, str]:
    """Wait for the sessions of `CLIENT`; return their ids, by what both versions say of them."""
    ask = (
        "python3 -c 'import urllib.request as r;"
        ' print(r.urlopen("http://127.0.0.1:8989/v1/sessions").read().decode())\''
    )

    def look() -> dict[str, str]:
        told = machine.run(ask, check=False).stdout
        found = {}
        for each in json.loads(told)["data"] if told else []:
            attributes = each["attributes"]
            key = f"{attributes['native_id']} {attributes['state']}"
            if "127.0.0.1:5432" in key:
                found[key] = each["id"]
        return found

    return eventually(look, lambda found: len(found) >= 2)


def test_every_id_is_kept(old: Path, tmp_path: Path, dist: Path) -> None:
    root = fresh_root(tmp_path, *SERVER)
    shutil.copytree(old, root / "root/old")
    for package in dist.glob("*.deb"):
        shutil.copy(package, root / "root")
    online(
        root,
        "set -e; python3 -m venv /opt/sessiongate;"
        ' /opt/sessiongate/bin/pip install "$(echo /root/old/dist/*.whl)[server]"',
    )
    command = "/opt/sessiongate/bin/sessiongate"
    steps = texts("docs/installation.md", "sh", "On Debian")[-1]
    with Machine(root) as machine:
        machine.start(CLIENT)
        machine.run(
            "mkdir -p /etc/sessiongate; echo 'stale_after = 45' >/etc/sessiongate/sessiongate.toml;"
            "install -m 644 /root/old/deploy/sessiongate.service /etc/systemd/system/;"
            "systemctl daemon-reload; systemctl enable --now sessiongate"
        )
        assert machine.run(f"{command} --version").stdout == "sessiongate 0.1.0\n"
        ids = by_rest(machine)
        machine.run(f"cd /root; export DEBIAN_FRONTEND=noninteractive; {steps}")
        assert "0.1.0" not in machine.run("sessiongate --version").stdout
        assert lasting_ids(machine)
        assert by_rest(machine) == ids
        settings = machine.run("cat /etc/sessiongate/sessiongate.toml").stdout
        assert settings == "stale_after = 45\n"
        owner = machine.run("stat -c %U:%a /var/lib/sessiongate/ledger.db").stdout
        assert owner == "sessiongate:600\n"
