"""The program of `make release`: builds everything from the last commit into one folder."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from release.debian import deb_builder
from release.image import image_builder
from release.packages import build_contract, build_packages, build_sbom, build_texts
from release.suite import SUITES, Suite
from release.tools import run
from release.version import Release, ReleaseError, epoch_of, release_of

ROOT = Path(__file__).resolve().parent.parent

Part: TypeAlias = Callable[[Release, Path], None]


def parts_for(suite: Suite) -> Mapping[str, Part]:
    """Return what builds each part, in this order: later ones use what earlier ones have made."""
    return {
        "packages": build_packages,
        "contract": build_contract,
        "texts": build_texts,
        "sbom": build_sbom,
        "deb": deb_builder(suite),
        "image": image_builder(suite),
    }


def build(out: Path, parts: Mapping[str, Part]) -> Release:
    """Build the last commit in place of what a folder has. Raises `ReleaseError`."""
    with TemporaryDirectory() as folder:
        made = Path(folder, "made")
        made.mkdir()
        release = release_of(_exported(ROOT, Path(folder, "source")), epoch_of(ROOT))
        for name, make in parts.items():
            print(f"{name} ...", file=sys.stderr)
            make(release, made)
        write_checksums(made)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(made, out)
    return release


def _exported(root: Path, source: Path) -> Path:
    """Copy what the last commit has; without git, use the folder as it is.

    Raises `ReleaseError` if the folder has something else: some parts are made by its programs.
    """
    if not (root / ".git").exists():
        return root
    if changed := run("git", "-C", root, "status", "--short", "--untracked-files=no"):
        raise ReleaseError(f"the last commit is released: commit these changes first\n{changed}")
    archive = source.with_suffix(".tar")
    run("git", "-C", root, "archive", "--output", archive, "HEAD")
    with tarfile.open(archive) as packed:
        # Debian's Python 3.11.2 lacks filters; 3.12 and 3.13 warn if there is none.
        packed.extraction_filter = getattr(tarfile, "data_filter", None)
        packed.extractall(source)
    return source


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS, which `sha256sum --check` reads."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in sorted(folder.iterdir())
    ]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder to replace")
    parser.add_argument("--suite", choices=SUITES, default="bookworm", help="Debian's release")
    parser.add_argument("--only", nargs="+", metavar="PART", help="build only these parts")
    arguments = parser.parse_args()
    every = parts_for(SUITES[arguments.suite])
    if unknown := {*(arguments.only or ())} - {*every}:
        parser.error(f"--only: must be of {', '.join(every)}, got {', '.join(unknown)}")
    parts = {name: make for name, make in every.items() if name in (arguments.only or every)}
    try:
        release = build(arguments.out, parts)
    except ReleaseError as error:
        sys.exit(f"release: {error}")
    print(f"Sessiongate {release.version} is in {arguments.out}:")
    for file in sorted(arguments.out.iterdir()):
        print(f"  {file.stat().st_size:>12,}  {file.name}")


if __name__ == "__main__":
    main()
