"""``make debian``: run the sources' tests with the servers of another release of Debian.

The release is made in a folder, by mmdebstrap, with this machine's mirror, and the tests run in it
by its own Python. Takes root and ten minutes. Everything stays in .venv/debian; nothing else of
this machine is changed.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.debian13 import mirror
from tests.servers import require

ROOT = Path(__file__).resolve().parent.parent
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PACKAGES = (
    *("python3", "python3-venv", "ca-certificates", "git", "openssl", "procps", "tzdata"),
    *("postgresql", "pgbouncer", "haproxy", "mariadb-server"),
)
_HERE = "srv/sessiongate"  # the project, below the root
# What reads a server, acts on one, or keeps a ledger in one.
_TESTS = (
    *("haproxy_source", "acts_haproxy", "mariadb_source", "mariadb_activity", "mariadb_columns"),
    *("mariadb_failures", "mariadb_odd", "acts_mysql", "pgbouncer_source", "pgbouncer_activity"),
    *("acts_pgbouncer", "postgresql_source", "postgresql_activity", "acts_postgresql", "tiers"),
    *("postgresql_ledger", "postgresql_ledger_server", "postgresql_partitions"),
    "postgresql_tables",
)
_RUN = """
set -eu
cd /{here}
[ -d .venv ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
.venv/bin/python -m pip install --quiet --editable '.[server]' --group dev
for program in python3 haproxy mariadbd pgbouncer /usr/lib/postgresql/*/bin/postgres; do
    $program --version 2>/dev/null | head -n 1 || $program -v | head -n 1
done
.venv/bin/python -m pytest --numprocesses 4 -p no:cacheprovider {tests}
"""
# A mount namespace: what is mounted here is gone with its last process.
_INSIDE = """
set -eu
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -t tmpfs tmpfs {root}/tmp
exec chroot {root} env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt sh -c {script}
"""


def made(suite: str) -> Path:
    """Return the folder of a release, made if it is not there."""
    root = ROOT / ".venv" / "debian" / suite
    if not root.exists():
        new = root.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.parent.mkdir(parents=True, exist_ok=True)
        source = f"deb [signed-by={_KEYRING}] {mirror()} {suite} main"
        program = require("mmdebstrap", "mmdebstrap")
        packages = f"--include={','.join(_PACKAGES)}"
        subprocess.run([program, "--variant=apt", packages, suite, new, source], check=True)
        new.rename(root)
    # How this machine reaches its package index.
    for file in (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pip.conf")):
        if file.exists():
            shutil.copy(file, root / file.relative_to("/"))
    return root


def put(root: Path) -> None:
    """Copy the project's files, as they are now."""
    here = root / _HERE
    here.mkdir(parents=True, exist_ok=True)
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, here / name)


def main(suite: str, arguments: list[str]) -> int:
    """Run the tests, or those that are named; return the exit code."""
    root = made(suite)
    put(root)
    tests = arguments or [f"tests/core/test_{name}.py" for name in _TESTS]
    script = _RUN.format(here=_HERE, tests=shlex.join(tests))
    inside = _INSIDE.format(root=shlex.quote(str(root)), script=shlex.quote(script))
    return subprocess.run(["unshare", "--mount", "sh", "-c", inside], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
