"""Debian's package: installed, upgraded, removed and purged on a machine that systemd runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import eventually
from tests.release.machine import CLIENT, NEEDS_ROOT, SERVER, Machine, fresh_root, lasting_ids
from tests.servers import require
from tests.snippets import texts

pytestmark = NEEDS_ROOT
_UNIT = "sessiongate.service"
# What systemd, apt and the kernel change while the system runs.
_PASSING: tuple[str, ...] = ("run", "tmp", "dev", "proc", "sys", "root", "var/log", "var/tmp")
_PASSING += (
    "var/cache",
    "var/lib/systemd",
    "var/lib/apt",
    "var/lib/dpkg",
    "etc/machine-id",
    "var/lib/dbus",
)


@pytest.fixture(scope="module")
def package(dist: Path) -> Path:
    (package,) = dist.glob("*.deb")
    return package


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Path:
    """Return a minimal system with systemd and Python, and the package in its /root."""
    root = fresh_root(tmp_path_factory.mktemp("deb"), *SERVER)
    shutil.copy(package, root / "root/sessiongate_first.deb")
    return root


@pytest.fixture(scope="module")
def before(root: Path) -> dict[str, str]:
    """Return what the system has before the package is installed."""
    return contents(root)


def contents(root: Path) -> dict[str, str]:
    """Return the paths of a system, and its users and groups."""
    paths = (str(each.relative_to(root)) for each in root.rglob("*"))
    found = {path: "" for path in paths if not path.startswith(_PASSING)}
    users = {name: (root / "etc" / name).read_text() for name in ("passwd", "group", "shadow")}
    return found | users


@pytest.fixture(scope="module")
def machine(root: Path, before: dict[str, str]) -> Iterator[Machine]:
    with Machine(root) as machine:
        machine.start(CLIENT)
        apt, _ = texts("docs/installation.md", "sh", "On Debian")[0].splitlines()
        machine.run(f"cd /root; {apt.replace('install', 'install --yes')}")
        yield machine


def test_lintian_finds_nothing(package: Path) -> None:
    done = subprocess.run(
        [require("lintian", "lintian"), "--allow-root", "--fail-on", "error,warning", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_it_serves_that_machine_s_sessions(machine: Machine) -> None:
    _, ask = texts("docs/installation.md", "sh", "On Debian")[0].splitlines()
    eventually(lambda: "127.0.0.1:" in machine.run(ask, check=False).stdout)
    assert machine.run(f"systemctl is-active {_UNIT}; systemctl is-enabled {_UNIT}").stdout == (
        "active\nenabled\n"
    )
    assert lasting_ids(machine)
    answer = machine.run(
        "python3 -c 'import urllib.request as r;"
        ' print(r.urlopen("http://127.0.0.1:8989/v1/sessions").read().decode())\''
    )
    assert json.loads(answer.stdout)["data"]
    process = machine.run(f"systemctl show -P MainPID {_UNIT}").stdout.strip()
    assert machine.run(f"stat -c %U /proc/{process}").stdout == "sessiongate\n"


def test_its_user_reads_the_settings_and_nobody_else(machine: Machine) -> None:
    as_user = "setpriv --reuid=sessiongate --regid=sessiongate --clear-groups"
    told = machine.run(
        f"cd /; {as_user} sessiongate check-config --config /etc/sessiongate/sessiongate.toml"
    )
    print(told.stdout)
    mode = machine.run("stat -c '%U:%G %a' /etc/sessiongate/sessiongate.toml /var/lib/sessiongate")
    assert mode.stdout == "root:sessiongate 640\nsessiongate:sessiongate 700\n"


def test_what_belongs_to_it_is_there(machine: Machine) -> None:
    listing = machine.run("dpkg -L sessiongate").stdout.splitlines()
    for path in (
        "/usr/share/bash-completion/completions/sessiongate",
        "/usr/share/zsh/vendor-completions/_sessiongate",
        "/usr/share/fish/vendor_completions.d/sessiongate.fish",
        "/lib/systemd/system/sessiongate@.service",
        "/usr/share/man/man1/sessiongate-list.1.gz",
        "/usr/share/man/man5/sessiongate.toml.5.gz",
    ):
        assert path in listing
    assert machine.run("dpkg --verify sessiongate").stdout == ""
    done = machine.run(
        "bash -c '. /usr/share/bash-completion/completions/sessiongate;"
        " COMP_WORDS=(sessiongate bl); COMP_CWORD=1; _sessiongate_completion sessiongate;"
        ' echo "${COMPREPLY[@]}"\''
    )
    assert done.stdout == "blockers\n"


def test_its_units_are_valid(machine: Machine) -> None:
    done = machine.run("systemd-analyze verify --man=no sessiongate.service sessiongate@x.service")
    assert done.stderr == ""
    machine.run(f"systemctl reload {_UNIT}")
    assert lasting_ids(machine)


def test_an_instance_has_settings_and_a_ledger_of_its_own(machine: Machine) -> None:
    machine.run(
        'printf \'http = "127.0.0.1:8990"\\ngrpc = "127.0.0.1:50052"\\n\''
        " >/etc/sessiongate/second.toml; chmod 600 /etc/sessiongate/second.toml;"
        " systemctl start sessiongate@second"
    )
    assert lasting_ids(machine, "--core 127.0.0.1:50052")
    assert machine.run("stat -c %U:%a /var/lib/sessiongate-second").stdout == "sessiongate:700\n"


def test_an_upgrade_keeps_every_id(
    machine: Machine, root: Path, package: Path, tmp_path: Path
) -> None:
    ids = lasting_ids(machine)
    machine.run("echo 'stale_after = 60' >>/etc/sessiongate/sessiongate.toml")
    machine.run(texts("docs/installation.md", "sh", "On Debian")[1])
    process = machine.run(f"systemctl show -P MainPID {_UNIT}").stdout
    subprocess.run(["dpkg-deb", "-R", package, tmp_path / "later"], check=True)
    control = tmp_path / "later/DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*", "Version: 9.9", control.read_text()))
    later = root / "root/sessiongate_later.deb"
    build = ("dpkg-deb", "--root-owner-group", "-Znone", "--build", tmp_path / "later", later)
    subprocess.run(build, check=True, capture_output=True)
    machine.run("apt-get install -y /root/sessiongate_later.deb")
    assert machine.run("dpkg-query -W -f '${Version}' sessiongate").stdout == "9.9"
    assert machine.run(f"systemctl show -P MainPID {_UNIT}").stdout != process
    assert lasting_ids(machine) == ids
    assert lasting_ids(machine, "--core 127.0.0.1:50052"), "instances are started again, too"
    settings = machine.run("cat /etc/sessiongate/sessiongate.toml").stdout
    assert settings.endswith("\nstale_after = 60\n"), "what an administrator changed is kept"


def test_removed_and_installed_again_it_keeps_every_id(machine: Machine, root: Path) -> None:
    ids = lasting_ids(machine)
    machine.run("apt-get remove -y sessiongate")
    assert not machine.run("pgrep -f sessiongate", check=False).stdout
    assert not (root / "usr/lib/sessiongate").exists()
    machine.run("apt-get install -y /root/sessiongate_first.deb")
    assert lasting_ids(machine) == ids


def test_purged_it_leaves_nothing(machine: Machine, root: Path, before: dict[str, str]) -> None:
    machine.run("apt-get purge -y sessiongate")
    after = contents(root)
    assert after == before
    assert machine.run("systemctl list-units --all --plain --quiet 'sessiongate*'").stdout == ""
