"""``make pythons``: run the core of the tests on each supported Python that is found here.

Pythons are looked for in the ``PATH`` and among pyenv's. Each gets an environment of its own, in
.venv/pythons, with the newest packages that it allows. Needs nothing but Python itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
# What tells whether a Python will do. The rest of the tests is about pages, packages and tools.
CORE = ("tests/client", "tests/core", "tests/gateway", "tests/runtime", "tests/test_end_to_end.py")
# Makes its client with a tool that supports Pythons of its own choice.
NOT = ("--ignore", "tests/gateway/test_generated_clients.py")
_NAME = re.compile(r"python3\.\d+")


def candidates() -> Iterator[Path]:
    """Yield the interpreters by name: of the PATH, then pyenv's, then this one."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders = [folder for folder in folders if folder.name != "shims"]  # pyenv's, of any version
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for folder in (*folders, *sorted(pyenv.glob("versions/*/bin"))):
        yield from sorted(each for each in folder.glob("python3.*") if _NAME.fullmatch(each.name))
    yield Path(sys.executable)


def pythons() -> dict[tuple[int, int], Path]:
    """Return the first interpreter of each supported version, from the oldest on."""
    found: dict[tuple[int, int], Path] = {}
    for path in candidates():
        told = subprocess.run(
            [path, "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode == 0:
            major, minor = map(int, told.stdout.split())
            if (major, minor) >= OLDEST:
                found.setdefault((major, minor), path)
    return dict(sorted(found.items()))


def prepared(python: Path, name: str) -> Path:
    """Make the environment of a Python, or bring it up to date; return its interpreter."""
    folder = ROOT / ".venv" / "pythons" / name
    inside = folder / "bin" / "python"
    if not inside.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
    install = (inside, "-m", "pip", "install", "--quiet", "--upgrade")
    subprocess.run([*install, "pip>=25.1"], check=True)
    wanted = ("--editable", ".[server]", "--group", "dev")
    subprocess.run([*install, *wanted], cwd=ROOT, check=True)
    return inside


def main(arguments: list[str]) -> int:
    """Test each; more arguments are pytest's. Return the exit code."""
    results = {}
    for version, path in pythons().items():
        name = ".".join(map(str, version))
        print(f"Python {name}: {path}", flush=True)
        try:
            python = prepared(path, name)
        except subprocess.CalledProcessError as error:
            results[name] = f"not installed: {error}"
            continue
        tests = (python, "-m", "pytest", "-p", "no:cacheprovider", "--numprocesses", "4")
        done = subprocess.run([*tests, *NOT, *(arguments or CORE)], cwd=ROOT, check=False)
        results[name] = "passed" if done.returncode == 0 else f"failed with {done.returncode}"
    for name, result in results.items():
        print(f"Python {name}: {result}")
    return 0 if results and {*results.values()} == {"passed"} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
