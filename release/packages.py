"""Makes what does not depend on a machine: wheel, sdist, pins, contract, SBOM, notes."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from release.tools import BIN, run, tar_of
from release.version import Release

_CONSTRAINTS = Path(__file__).with_name("constraints.txt")


def build_packages(release: Release, out: Path) -> None:
    """Write the sdist, and the wheel that is made from it."""
    run(
        *(BIN / "uv", "build", "--quiet", "--build-constraints", _CONSTRAINTS),
        *("--out-dir", out, release.source),
        epoch=release.epoch,
    )
    (out / ".gitignore").unlink(missing_ok=True)  # uv's


def build_contract(release: Release, out: Path) -> None:
    """Write the .proto files, and their descriptors in one file."""
    folder = release.source / "proto"
    found = [folder.parent / "buf.yaml", folder.parent / "LICENSE", *folder.rglob("*.proto")]
    name = f"sessiongate-{release.version}-proto"
    files = ((f"{name}/{file.relative_to(folder.parent)}", file.read_bytes()) for file in found)
    (out / f"{name}.tar.gz").write_bytes(tar_of(files, release.epoch))
    image = out / f"sessiongate-{release.version}.binpb"
    run(BIN / "buf", "build", "--as-file-descriptor-set", "-o", image, cwd=release.source)


def build_texts(release: Release, out: Path) -> None:
    """Write the pins of what servers need, and the notes."""
    shutil.copyfile(release.source / "requirements.txt", out / "requirements.txt")
    heading = f"# Sessiongate {release.version}\n\n"
    (out / "RELEASE_NOTES.md").write_text(heading + release.notes, encoding="utf-8")


def build_sbom(release: Release, out: Path) -> None:
    """Write what a server consists of, in CycloneDX: packages, licences, dependencies."""
    with TemporaryDirectory() as folder:
        python = Path(folder, "env", "bin", "python")
        run(BIN / "uv", "venv", "--quiet", python.parent.parent)
        install = (BIN / "uv", "pip", "install", "--quiet", "--python", python)
        run(*install, "--require-hashes", "-r", out / "requirements.txt")
        run(
            *(BIN / "cyclonedx-py", "environment", python, "--output-reproducible"),
            "--gather-license-texts",  # some name their licence in words of their own
            *("--pyproject", release.source / "pyproject.toml", "--mc-type", "application"),
            *("--output-file", out / f"sessiongate-{release.version}.cdx.json"),
        )
