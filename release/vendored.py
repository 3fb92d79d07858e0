"""The virtual environment that Debian's package carries: what pip would make on that system."""

from __future__ import annotations

import csv
import platform
import shutil
from importlib.metadata import Distribution, distributions
from pathlib import Path

from release.suite import Suite
from release.tools import BIN, run
from release.version import Release

_CONFIGURATION = """\
home = /usr/bin
include-system-site-packages = false
version = {python}
"""
_COMMAND = """\
#!/{prefix}/bin/python
import sys

from sessiongate.gateway.__main__ import main

if __name__ == "__main__":  # and not in the workers, which import it
    sys.exit(main())
"""
# What compilers need, and what installers note for themselves.
_NOT_RUN = ("*.c", "*.h", "*.pyx", "*.pxd", "*.pxi")
_NOTES = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")


def make_environment(release: Release, suite: Suite, made: Path, root: Path, prefix: str) -> None:
    """Make one at ``root``/``prefix`` from the wheel in ``made``, for another system's Python."""
    environment = root / prefix
    site = environment / "lib" / f"python{suite.python}" / "site-packages"
    install = (
        *(BIN / "uv", "pip", "install", "--quiet", "--target", site, "--no-deps"),
        *("--python-version", suite.python, "--link-mode", "copy", "--only-binary", ":all:"),
        *("--python-platform", f"{platform.machine()}-manylinux_{suite.libc.replace('.', '_')}"),
    )
    run(*install, "--require-hashes", "-r", made / "requirements.txt")
    own = f"sessiongate=={release.version}"
    run(*install, "--no-index", "--find-links", made, own)
    shutil.rmtree(site / "bin")
    (site / ".lock").unlink(missing_ok=True)
    for pattern in _NOT_RUN:
        for file in site.rglob(pattern):
            file.unlink()
    for folder in sorted(site.rglob("*"), reverse=True):  # those that this has left empty
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    for information in site.glob("*.dist-info"):
        _forget_notes(site, information)
    (environment / "bin").mkdir()
    (environment / "bin" / "python").symlink_to(f"../../../bin/python{suite.python}")
    command = environment / "bin" / "sessiongate"
    command.write_text(_COMMAND.format(prefix=prefix), encoding="utf-8")
    command.chmod(0o755)
    configuration = _CONFIGURATION.format(python=suite.python)
    (environment / "pyvenv.cfg").write_text(configuration, encoding="utf-8")


def installed(site: Path) -> list[Distribution]:
    """Return the distributions in a folder, by name."""
    return sorted(distributions(path=[str(site)]), key=lambda each: each.name.lower())


def _forget_notes(site: Path, information: Path) -> None:
    """Remove an installer's notes, and from the record each file that is no longer there."""
    for name in _NOTES:
        (information / name).unlink(missing_ok=True)
    record = information / "RECORD"
    with record.open(encoding="utf-8", newline="") as lines:
        kept = [line for line in csv.reader(lines) if (site / line[0]).exists()]
    with record.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(kept)
