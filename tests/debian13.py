"""Programs of Debian 13 on an older Debian: unpacked beside it, with the libraries that they need.

Nothing is installed: each runs by its own loader, from a folder that the tests of a machine share.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.servers import require

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_RELEASE = Path("/etc/debian_version")
_CACHE = Path("/var/tmp") / f"sessiongate-tests-debian13-{os.geteuid()}"
_APT = """\
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
APT::Sandbox::User "";
"""
# PgBouncer's libraries, with theirs.
_LIBRARIES = (
    *("libc6", "libevent-2.1-7t64", "libssl3t64", "libcares2", "libpam0g", "libsystemd0"),
    *("libaudit1", "libcap2", "libcap-ng0", "libgcrypt20", "libgpg-error0", "liblz4-1"),
    *("liblzma5", "libzstd1", "zlib1g"),
)


def pgbouncer() -> Sequence[str]:
    """Return the command that runs Debian 13's PgBouncer, 1.24; unpack it if that was not done.

    If it cannot be had (no apt-get, no network), skip the test, or fail it in CI.
    """
    if _RELEASE.exists() and _RELEASE.read_text(encoding="utf-8").startswith("13."):
        return [require("pgbouncer", "pgbouncer")]
    try:
        root = _unpacked("pgbouncer", *_LIBRARIES)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = f"Debian 13's pgbouncer cannot be had: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    libraries = root / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    (loader,) = libraries.glob("ld-linux-*.so.*")
    return [str(loader), "--library-path", str(libraries), str(root / "usr/sbin/pgbouncer")]


def _unpacked(*packages: str) -> Path:
    """Return a folder in which packages are unpacked."""
    _CACHE.mkdir(mode=0o755, exist_ok=True)
    root = _CACHE / "root"
    with open(_CACHE / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=_CACHE) as work:
                _unpack(Path(work), packages).rename(root)
    return root


def mirror() -> str:
    """Return where this machine gets its packages from."""
    asked = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    found = subprocess.run(asked, capture_output=True, check=True, text=True).stdout.split()
    sites = [site for site in found if "security" not in site]
    if not sites:
        raise FileNotFoundError("apt-get knows no mirror")
    return sites[0]


def _unpack(work: Path, packages: Sequence[str]) -> Path:
    if shutil.which("apt-get") is None:
        raise FileNotFoundError("there is no apt-get")
    for name in ("state/lists/partial", "cache/archives/partial", "root"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "apt.conf").write_text(_APT.format(folder=work))
    source = f"deb [signed-by={_KEYRING}] {mirror()} trixie main\n"
    (work / "sources.list").write_text(source)
    environment = {**os.environ, "APT_CONFIG": str(work / "apt.conf")}
    for command in (("update",), ("download", *packages)):
        subprocess.run(
            ["apt-get", "-q", "-y", *command],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
    for package in work.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(work / "root")], check=True)
    return work / "root"
