"""A release that is built twice has the same bytes, and each file is what its readers expect."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.program import BIN
from tests.release.conftest import build
from tests.release.machine import NEEDS_ROOT

pytestmark = NEEDS_ROOT


def test_built_twice_it_has_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    again = build(tmp_path / "dist")
    assert (again / "SHA256SUMS").read_text() == (dist / "SHA256SUMS").read_text()
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=again, check=True)


def test_the_description_renders(dist: Path) -> None:
    packages = [*dist.glob("*.whl"), *dist.glob("sessiongate-*[0-9].tar.gz")]
    check: list[str | Path] = [BIN / "twine", "check", "--strict", *packages]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_bill_of_materials_is_what_is_pinned(dist: Path) -> None:
    (file,) = dist.glob("*.cdx.json")
    told = json.loads(file.read_text())
    assert told["metadata"]["component"]["name"] == "sessiongate"
    pinned = (dist / "requirements.txt").read_text()
    names = {part["name"].lower().replace("_", "-") for part in told["components"]}
    assert {"grpcio", "starlette", "protobuf"} <= names
    for part in told["components"]:
        assert f"\n{part['name'].lower().replace('_', '-')}=={part['version']}" in f"\n{pinned}"
        assert part["licenses"], part["name"]


def test_the_contract_is_the_sources_and_their_descriptors(dist: Path) -> None:
    (image,) = dist.glob("*.binpb")
    listing: list[str | Path] = [
        BIN / "buf",
        "build",
        f"{image}#format=binpb",
        "-o",
        "-#format=json",
    ]
    told = json.loads(subprocess.run(listing, capture_output=True, check=True).stdout)
    assert "sessiongate/v1/session.proto" in {file["name"] for file in told["file"]}
