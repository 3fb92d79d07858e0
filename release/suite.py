"""Debian's releases that packages are made for, and the machine's architecture in three tongues."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from release.version import ReleaseError


@dataclass(frozen=True, slots=True)
class Suite:
    """A release of Debian, with its own Python."""

    name: str
    number: int
    python: str
    libc: str

    @property
    def next_python(self) -> str:
        """Return the first version of Python that does not find what is made for this one."""
        major, minor = self.python.split(".")
        return f"{major}.{int(minor) + 1}"


SUITES = {
    each.name: each
    for each in (Suite("bookworm", 12, "3.11", "2.36"), Suite("trixie", 13, "3.13", "2.41"))
}
# As uname has them: as Debian and as OCI do.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """Return this machine's, which packages and images are made for. Raises `ReleaseError`."""
    try:
        return _ARCHITECTURES[platform.machine()]
    except KeyError:
        allowed = " or ".join(_ARCHITECTURES)
        raise ReleaseError(f"the machine must be {allowed}, got {platform.machine()}") from None
