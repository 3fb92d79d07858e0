"""Redis servers for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import Server, free_port, private_folder, require


@contextmanager
def running_redis() -> Iterator[int]:
    """Run a server; yield its port."""
    program = require("redis-server", "redis-server")
    port = free_port()
    with private_folder() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        with Server([*command, "--dir", str(folder)], ready="Ready to accept connections"):
            yield port
