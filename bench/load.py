"""Load on a server, by wrk."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.checks import Asked
from bench.programs import BenchError

TOOLS = {"wrk": "wrk"}  # and Debian's packages
CONNECTIONS = 16
# Fewer connections for answers this large, for longer, so that those cut off at the end
# weigh little.
LARGE = 1024 * 1024
LARGE_CONNECTIONS = 4
LARGE_SECONDS = 3  # times as long

_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a load. A walk over several pages counts as one answer."""

    answers: float
    seconds: float
    p50: float  # seconds; for a walk, a request's times their number
    p99: float

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


def missing_tools() -> list[str]:
    """Return Debian's packages of the tools that are not installed."""
    return [package for tool, package in TOOLS.items() if shutil.which(tool) is None]


def wrk(address: str, asked: Asked, seconds: int) -> Load:
    """Ask over HTTP/1.1. Raises `BenchError` if an answer is not what it was before."""
    question = asked.question
    connections = CONNECTIONS
    if asked.length > LARGE:
        connections, seconds = LARGE_CONNECTIONS, seconds * LARGE_SECONDS
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s"]
    command += ["--script", str(_SCRIPT), f"http://{address}{question.paths[0]}"]
    for name, value in question.headers.items():
        command += ["--header", f"{name}: {value}"]
    walked = {"BENCH_WALK": " ".join(question.paths)} if len(question.paths) > 1 else {}
    output = _run(command, **walked)
    found = json.loads(output.partition("RESULT ")[2])
    _check(command, found["requests"], found["errors"], output)
    walk = len(question.paths)
    # There are also headers, and parts of answers in transit at the end; the numbers in a
    # body may have grown or shrunk.
    bodies = found["requests"] / walk * asked.length
    beside = 1024 * found["requests"] + connections * asked.length
    if not 0.9 * bodies <= found["bytes"] <= 1.1 * bodies + beside:
        raise BenchError(f"{question.paths[0]}: {found['bytes']} bytes instead of {bodies:.0f}")
    return Load(
        found["requests"] / walk,
        found["microseconds"] / 1e6,
        found["p50"] / 1e6 * walk,
        found["p99"] / 1e6 * walk,
    )


def version(tool: str) -> str:
    """Return the version that a tool states."""
    text = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"[0-9]+\.[0-9.]+[0-9]", text)
    return found[0] if found else "unknown"


def _run(command: list[str], **variables: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def _check(command: list[str], requests: int, errors: int, output: str) -> None:
    if not requests or errors:
        raise BenchError(f"{' '.join(command)}: {errors} of {requests} failed:\n{output}")
