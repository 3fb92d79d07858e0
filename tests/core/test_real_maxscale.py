"""``maxscale+http://`` over a real MaxScale, in front of a real MariaDB, with odd clients.

No package provides MaxScale: set the variable SESSIONGATE_MAXSCALE to the program of one
(24.02), installed or unpacked. Without it these tests are skipped, and recordings of one are
read instead (tests/core/test_maxscale_source.py).
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from sessiongate.core.sources.base import Observed, SourceConfig
from sessiongate.core.sources.maxscale import open_source
from sessiongate.v1.session_pb2 import SessionState
from tests.core.observing import seen
from tests.mariadb import PASSWORD, MariaDB, mariadb, run
from tests.servers import Server, account, free_port, private_folder, write

BINARY = os.environ.get("SESSIONGATE_MAXSCALE", "")
pytestmark = pytest.mark.skipif(not BINARY, reason="SESSIONGATE_MAXSCALE names no MaxScale")

_CONFIGURATION = """\
[maxscale]
threads=1
admin_host=127.0.0.1
admin_port={rest}
admin_secure_gui=false
retain_last_statements=10
[server1]
type=server
address=127.0.0.1
port={server}
[Monitor]
type=monitor
module=mariadbmon
servers=server1
user=maxscale
password={password}
monitor_interval=1000ms
[RW]
type=service
router=readwritesplit
servers=server1
user=maxscale
password={password}
[RC]
type=service
router=readconnroute
router_options=running
servers=server1
user=maxscale
password={password}
[RW-Listener]
type=listener
service=RW
address=127.0.0.1
port={listener}
[RC-Listener]
type=listener
service=RC
socket={folder}/clients.sock
"""
# Where it finds its own files, if it was unpacked and not installed.
_FOLDERS = {"libdir": "lib/*/maxscale", "sharedir": "share/maxscale", "execdir": "bin"}


class MaxScale:
    """A MaxScale in a zone that is not UTC; ``ports`` are those of its REST API and listener."""

    def __init__(self, folder: Path, server: MariaDB) -> None:
        self.rest, self.listener = free_port(), free_port()
        self.socket = folder / "clients.sock"
        values = {"rest": self.rest, "listener": self.listener, "server": server.port}
        text = _CONFIGURATION.format(**values, password=PASSWORD, folder=folder)
        configuration = write(folder / "maxscale.cnf", text)
        root = Path(BINARY).resolve().parent.parent
        found = {name: next(root.glob(pattern), None) for name, pattern in _FOLDERS.items()}
        private = ("logdir", "cachedir", "datadir", "piddir", "persistdir")
        folders = {**dict.fromkeys(private, folder), **found}
        user = account()
        self.process = Server(
            [
                *(BINARY, "--nodaemon", "--log=stdout", "--syslog=no", f"--config={configuration}"),
                *(f"--{name}={path}" for name, path in folders.items() if path),
                *((f"--user={user}",) if user else ()),
            ],
            ready="MaxScale started",
            environment={"TZ": "Europe/Helsinki"},
            as_root=True,
        )


@contextmanager
def maxscale() -> Iterator[tuple[MaxScale, MariaDB]]:
    with mariadb() as server, private_folder() as folder:
        asyncio.run(_allow(server))
        running = MaxScale(folder, server)
        try:
            yield running, server
        finally:
            running.process.close()


async def _allow(server: MariaDB) -> None:
    async with server.client("root", "") as root:
        await run(root, f"GRANT ALL ON *.* TO maxscale@'%' IDENTIFIED BY '{PASSWORD}'")


@pytest.fixture(scope="module")
def proxy() -> Iterator[tuple[MaxScale, MariaDB]]:
    with maxscale() as pair:
        yield pair


def by_program(sessions: list[Observed]) -> Mapping[str, Observed]:
    return {item.session.application: item for item in sessions}


@pytest.mark.parametrize("zone", ["", "Europe/Helsinki"])
def test_odd_clients_cost_nobody(proxy: tuple[MaxScale, MariaDB], zone: str) -> None:
    front, server = proxy

    async def main() -> None:
        options = {"password": "mariadb", "statements": "true", "name": "proxy"}
        if zone:
            options["timezone"] = zone
        url = f"maxscale+http://admin@127.0.0.1:{front.rest}"
        source = open_source(SourceConfig.parse(url, options))
        async with (
            server.client(port=front.listener, program_name="idle") as idle,
            server.client(port=front.listener, program_name="busy") as busy,
            server.client("app", "", unix_socket=str(front.socket), program_name="unix"),
        ):
            await run(idle, "SELECT 1")
            sleeping = asyncio.create_task(run(busy, "SELECT SLEEP(1000)"))
            with socket.create_connection(("127.0.0.1", front.listener)):
                sessions = await seen(source, lambda found: len(found) == 4)
                now = time.time()
                shown = by_program(sessions)
                assert {"idle", "busy", "unix", ""} == set(shown)
                assert shown[""].session.state == SessionState.SESSION_STATE_ALLOC
                assert shown["unix"].session.remote == "localhost"
                assert not shown["unix"].session.HasField("port")
                for item in sessions:
                    assert not item.unreadable
                    assert abs(item.session.connect_time.ToSeconds() - now) < 60
                    for query in item.session.queries:
                        assert abs(query.receive_time.ToSeconds() - now) < 60
                before = await source.observe()
                for _ in range(4):
                    await asyncio.sleep(1)  # lets time alone make changes
                    after = await source.observe()
                    one, other = (by_program(list(each.sessions)) for each in (before, after))
                    active = [each["busy"].session.last_active_time for each in (one, other)]
                    assert active[0] == active[1], "a statement that runs is no change"
            sleeping.cancel()
        await source.close()

    asyncio.run(main())
