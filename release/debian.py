"""Makes Debian's package: a virtual environment of its own, two units, and what belongs to them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from tempfile import TemporaryDirectory

from release.settings_file import settings_file
from release.suite import Suite, architecture
from release.tools import BIN, run, zipped
from release.vendored import installed, make_environment
from release.version import Release

_PREFIX = "usr/lib/sessiongate"
_SCRIPTS = Path(__file__).with_name("debian")
_CONTROL = """\
Package: sessiongate
Version: {version}
Section: database
Priority: optional
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: python3 (>= {suite.python}), python3 (<< {suite.next_python}), libc6 (>= {suite.libc}), \
libgcc-s1, libstdc++6, adduser
Recommends: ca-certificates
Homepage: {home}
Description: shows who is connected to which databases and proxies
 Sessiongate reads sessions from PostgreSQL, MariaDB, MySQL, PgBouncer,
 HAProxy, MaxScale and this machine's sockets. It answers in one place who
 is connected, to what, since when, and doing what: over gRPC, over REST as
 JSON:API, on a page for people and at a terminal.
 .
 The service listens on this machine only, until
 /etc/sessiongate/sessiongate.toml says otherwise.
"""
_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Sessiongate
Source: {home}

Files: *
Copyright: {year} {maintainer}
License: Apache-2.0

License: Apache-2.0
 On Debian systems, the full text of the Apache License, Version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.

Comment: In /{prefix} are these libraries, each under its own license, whose
 text is in the folder of its name that ends in .dist-info:
"""


def deb_builder(suite: Suite) -> Callable[[Release, Path], None]:
    """Return what builds the package for one release of Debian."""

    def build_deb(release: Release, out: Path) -> None:
        version = f"{release.debian_version}-1~deb{suite.number}"
        with TemporaryDirectory() as folder:
            root = Path(folder, "root")
            make_environment(release, suite, out, root, _PREFIX)
            _add_files(release, root, version, suite)
            _add_control(release, root, version, suite)
            _settle(root, release.epoch)
            name = f"sessiongate_{version}_{architecture()}.deb"
            build = ("dpkg-deb", "--root-owner-group", "--threads-max=1", "-Zxz", "-z1", "--build")
            run(*build, root, out / name, epoch=release.epoch)

    return build_deb


def _add_files(release: Release, root: Path, version: str, suite: Suite) -> None:
    """Add everything but the environment."""
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "usr" / "bin" / "sessiongate").symlink_to("../lib/sessiongate/bin/sessiongate")
    (root / "var" / "lib" / "sessiongate").mkdir(parents=True)
    _write(root, "etc/sessiongate/sessiongate.toml", settings_file())
    unit = (release.source / "deploy" / "sessiongate.service").read_text(encoding="utf-8")
    _write(root, "lib/systemd/system/sessiongate.service", own_unit(unit))
    _write(root, "lib/systemd/system/sessiongate@.service", template_unit(unit))
    run(
        *(sys.executable, "-m", "sessiongate.gateway.cli.manual", root / "usr/share/man"),
        epoch=release.epoch,
    )
    for page in (root / "usr/share/man").rglob("*.[1-9]"):
        page.with_name(f"{page.name}.gz").write_bytes(zipped(page.read_bytes()))
        page.unlink()
    for shell, path in _COMPLETIONS.items():
        _write(root, path, completion(shell))
    documents = "usr/share/doc/sessiongate"
    entry = (
        f"sessiongate ({version}) {suite.name}; urgency=medium\n\n"
        f"  * Version {release.version}: see changelog.gz.\n\n"
        f" -- {release.maintainer}  {formatdate(release.epoch)}\n"
    )
    _write(root, f"{documents}/changelog.Debian.gz", zipped(entry.encode()))
    changes = (release.source / "CHANGELOG.md").read_bytes()
    _write(root, f"{documents}/changelog.gz", zipped(changes))
    copyright = _COPYRIGHT.format(
        home=release.home,
        maintainer=release.maintainer,
        prefix=_PREFIX,
        year=time.gmtime(release.epoch).tm_year,
    )
    (site,) = root.glob(f"{_PREFIX}/lib/*/site-packages")
    for each in installed(site):
        licence = each.metadata["License-Expression"] or each.metadata["License"] or "see there"
        first, *_ = licence.strip().splitlines()
        copyright += f" {each.metadata['Name']} {each.version}: {first}\n"
    _write(root, f"{documents}/copyright", copyright)
    overrides = (_SCRIPTS / "lintian-overrides").read_text(encoding="utf-8")
    _write(root, "usr/share/lintian/overrides/sessiongate", overrides)


def _write(root: Path, path: str, content: str | bytes) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


_COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/sessiongate",
    "zsh": "usr/share/zsh/vendor-completions/_sessiongate",
    "fish": "usr/share/fish/vendor_completions.d/sessiongate.fish",
}


def completion(shell: str) -> str:
    """Return the lines that let a shell complete the command, as the command prints them."""
    printed = subprocess.run(
        [BIN / "sessiongate"],
        env={**os.environ, "_SESSIONGATE_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if shell == "zsh":  # the file is the body of the function when that is first called
        printed += '\n_sessiongate_completion "$@"'
    return printed + "\n"


def own_unit(unit: str) -> str:
    """Return the unit for the package: with its command, and a user who stays."""
    replaced = {
        "/opt/sessiongate/bin/sessiongate": "/usr/bin/sessiongate",
        "DynamicUser=yes": "User=sessiongate\nGroup=sessiongate",
        " To install it, see docs/operations.md.": "",
        "After=": "Documentation=man:sessiongate(1) man:sessiongate.toml(5)\nAfter=",
        "# Its user, and the folder": "# Its user, which the package makes, and the folder",
    }
    for old, new in replaced.items():
        if unit.count(old) != 1:
            raise ValueError(f"deploy/sessiongate.service must have {old!r} once")
        unit = unit.replace(old, new)
    return unit


def template_unit(unit: str) -> str:
    """Return the unit of further instances, each with settings and folders of its own."""
    unit = own_unit(unit)
    unit = re.sub(r"(?<==)sessiongate$", "sessiongate-%i", unit, flags=re.MULTILINE)
    for key in ("User", "Group"):
        unit = unit.replace(f"{key}=sessiongate-%i", f"{key}=sessiongate")
    unit = unit.replace("/var/lib/sessiongate", "/var/lib/sessiongate-%i")
    unit = unit.replace("%t/sessiongate", "%t/sessiongate-%i")
    unit = unit.replace("/etc/sessiongate/sessiongate.toml", "/etc/sessiongate/%i.toml")
    return re.sub(r"^(Description=.*)", r"\1 (%i)", unit, flags=re.MULTILINE)


def _add_control(release: Release, root: Path, version: str, suite: Suite) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    sums = [
        f"{hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()}"
        f"  {file.relative_to(root)}\n"
        for file in files
        if file.relative_to(root).parts[0] != "etc"
    ]
    control = _CONTROL.format(
        version=version,
        architecture=architecture(),
        maintainer=release.maintainer,
        home=release.home,
        size=size,
        suite=suite,
    )
    _write(root, "DEBIAN/control", control)
    _write(root, "DEBIAN/conffiles", "/etc/sessiongate/sessiongate.toml\n")
    _write(root, "DEBIAN/md5sums", "".join(sums))
    for name in ("postinst", "prerm", "postrm"):
        shutil.copyfile(_SCRIPTS / name, root / "DEBIAN" / name)


def _settle(root: Path, epoch: int) -> None:
    """Give everything the time of the release, and the modes that Debian's policy wants."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or _is_program(path) else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _is_program(file: Path) -> bool:
    with file.open("rb") as content:
        return file.parent.name in ("bin", "DEBIAN") and content.read(2) == b"#!"
