"""Minimal Debian systems, from where this machine gets its packages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from release.suite import Suite
from release.tools import run
from release.version import ReleaseError


def make_system(
    suite: Suite, file: Path, packages: Iterable[str], hooks: Iterable[str] = (), epoch: int = 0
) -> None:
    """Write a system with these packages as a tar. Raises `ReleaseError`.

    Hooks are lines of shell: they find the folder of the system, before it is packed, in "$1".
    """
    run(
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"),
        *(f"--customize-hook={hook}" for hook in hooks),
        *(suite.name, file, "-"),
        epoch=epoch,
        stdin="".join(_sources(suite)),
    )


def _sources(suite: Suite) -> list[str]:
    """Return lines of sources.list: this machine's mirrors of Debian, for another release of it."""
    wanted = "$(SITE) $(RELEASE) $(ORIGIN) $(COMPONENT)"
    asked = run("apt-get", "indextargets", "--format", wanted, "Created-By: Packages")
    lines = []
    for line in sorted({*asked.splitlines()}):
        site, name, origin, component = line.split()
        if origin == "Debian" and component == "main":
            _, _, part = name.partition("-")
            lines.append(f"deb {site} {suite.name}{part and '-'}{part} main\n")
    if not lines:
        raise ReleaseError("apt-get knows no mirror of Debian: run apt-get update, on Debian")
    return lines
