"""Fresh Debian systems: made by mmdebstrap, and run by their own systemd in namespaces.

A system sees nothing of this machine but its kernel: neither processes nor network. Only what
downloads runs in this machine's network, with this machine's configuration of pip.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from release.suite import SUITES
from release.system import make_system
from tests.closing import Closing
from tests.polling import eventually
from tests.servers import require

ROOT = Path(__file__).resolve().parent.parent.parent
_CACHE = Path(tempfile.gettempdir()) / f"sessiongate-tests-roots-{os.geteuid()}"
# Seconds: downloads, and a loaded machine.
LONG = 1800
NEEDS_ROOT = pytest.mark.skipif(
    os.environ.get("RELEASE") != "full" or os.geteuid() != 0,
    reason="run as root by `make release-test`: it takes minutes",
)
# What a container engine does before the first program of a system starts.
_BOOT = """
set -e
root=$1
shift
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for each in null zero full random urandom tty; do
    touch dev/$each
    mount --bind /dev/$each dev/$each
done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ip link set lo up
pivot_root . mnt
cd /
umount -l mnt
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""
# The same without another root: this machine's programs, with a network of their own.
_STAY = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
# A container engine gives what a container has for its input to the container's user.
# Its own is in no folder of others, and not deleted: the engine mounts it in turn.
mount -t tmpfs tmpfs /mnt
mknod -m 666 /mnt/null c 1 3
mount --bind /mnt/null /dev/null
umount -l /mnt
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
exec "$@"
"""
# One program of a machine connects to another.
CLIENT = """\
python3 -c '
import socket, time
server = socket.create_server(("127.0.0.1", 5432))
client = socket.create_connection(("127.0.0.1", 5432))
time.sleep(10000)'"""
# What a server has besides a minimal Debian, and what somebody has who tries it.
SERVER = ("python3", "python3-venv", "systemd", "systemd-sysv", "dbus")
DESK = ("python3", "python3-venv", "make")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def fresh_root(folder: Path, *packages: str) -> Path:
    """Unpack a minimal Debian with these packages, made once on this machine; return its folder."""
    _CACHE.mkdir(mode=0o700, exist_ok=True)
    made = _CACHE / f"{'-'.join(packages)}.tar"
    with open(_CACHE / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            part = made.with_suffix(".part.tar")
            require("mmdebstrap", "mmdebstrap")
            make_system(SUITES["bookworm"], part, packages)
            part.rename(made)
    root = folder / "root"
    root.mkdir()
    subprocess.run(["tar", "-C", root, "-xf", made], check=True)
    return root


class Machine(Closing):
    """A system that runs, with a loopback of its own; ``run`` is a shell in it.

    Without a root, it is this machine's system, in namespaces of its own.
    """

    def __init__(self, root: Path | None, *init: str) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        spaces = ("--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net", "--fork")
        script = (
            ("sh", "-c", _STAY, "boot") if root is None else ("sh", "-c", _BOOT, "boot", str(root))
        )
        init = init or ("/lib/systemd/systemd",)
        self._process = subprocess.Popen(
            ["unshare", *spaces, "--kill-child", *script, *init],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        (self.first,) = eventually(psutil.Process(self._process.pid).children)
        name = Path(init[0]).name
        eventually(lambda: self.first.name() == name)
        if name == "systemd":
            eventually(lambda: self.state() in ("running", "degraded"))

    def state(self) -> str:
        """Return what systemd says of the whole system."""
        return self.run("systemctl is-system-running", check=False).stdout.strip()

    def run(self, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a line of shell in the system."""
        return _run((*self._enter(), *_in_shell(command)), check)

    def start(self, command: str) -> None:
        """Start a line of shell in the system; it ends with it."""
        words = (*self._enter(), *_in_shell(command))
        self._started.append(subprocess.Popen(words, stdin=subprocess.DEVNULL))

    def _enter(self) -> Sequence[str]:
        spaces = ("--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net", "--root", "--wd")
        return ("nsenter", "--target", str(self.first.pid), *spaces)

    def close(self) -> None:
        self.first.kill()
        for process in (self._process, *self._started):
            process.wait(LONG)


def online(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in a system that does not run, to download: with this machine's pip."""
    # Its folders of packages and certificates are lent, and taken back.
    inner = "\n".join(
        [
            "set -e",
            "mount --make-rprivate /",
            *(f"mkdir -p {at}; mount --bind {each} {at}" for each, at in _lent(root)),
            f"mount -t proc proc {root}/proc",
            f"exec chroot {root} env -i {_PATH} {_pip()} sh -c {shlex.quote(command)}",
        ]
    )
    for file in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf"):
        if Path("/", file).exists():
            shutil.copyfile(Path("/", file), root / file)
    return _run(("unshare", "--mount", "--pid", "--fork", "sh", "-c", inner), True)


def _lent(root: Path) -> list[tuple[str, str]]:
    """Return the folders that this machine's pip uses, and their places in the system."""
    configured = subprocess.run(
        ["pip", "config", "list"], capture_output=True, text=True, check=True
    )
    text = configured.stdout.replace("file://", " ").replace("'", " ").replace("\\n", " ")
    named = [Path(word) for word in text.split() if word.startswith("/")]
    folders = {path if path.is_dir() else path.parent for path in named if path.exists()}
    folders = {path.parent if path.name == "simple" else path for path in folders}  # an index
    mine = Path("~/.config/pip").expanduser()
    folders |= {path for path in (mine,) if path.is_dir()}
    top = [each for each in folders if not any(other in each.parents for other in folders)]
    return [(str(each), f"{root}{each}") for each in sorted(top)]


def _pip() -> str:
    mine = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    mine["HOME"] = os.path.expanduser("~")
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in mine.items())


def listed(machine: Machine, *options: str, command: str = "sessiongate") -> list[dict[str, Any]]:
    """Return the sessions that the command lists; none if no core responds."""
    done = machine.run(f"{command} list -o jsonl {' '.join(options)}", check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def lasting_ids(machine: Machine, *options: str, command: str = "sessiongate") -> dict[str, str]:
    """Wait for the sessions of `CLIENT`; return their ids, by their addresses."""
    return eventually(
        lambda: {
            f"{each['attributes']['native_id']} {each['attributes']['state']}": each["id"]
            for each in listed(machine, *options, command=command)
            if "127.0.0.1:5432" in each["attributes"]["native_id"]
        },
        lambda found: len(found) >= 2,  # the listener and its client
    )


def _in_shell(command: str) -> Sequence[str]:
    return ("env", "-i", _PATH, "DEBIAN_FRONTEND=noninteractive", "sh", "-ec", command)


def _run(command: Sequence[str], check: bool) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONG, check=False
    )
    if check:
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done
