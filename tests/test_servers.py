"""Servers end with the process that started them, however that ends."""

from __future__ import annotations

import subprocess
import sys

import psutil

from tests.closing import lasting
from tests.program import PATIENCE
from tests.snippets import ROOT

STARTER = """
from tests.servers import Server
command = ["sh", "-c", "echo ready; exec sleep 600"]
print(Server(command, ready="ready").process.pid, flush=True)
"""


def test_a_server_ends_when_its_starter_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        server = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
        assert lasting([server], PATIENCE) == []
