"""The demonstration of a fleet: two shards with a stand-by each, and a front over both.

The core that is active for a shard is killed again and again, and the effect is printed.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from urllib.parse import quote

from demo.clients import clients
from demo.servers import LOOPBACK, Databases, Step, databases
from demo.stop import Stop
from sessiongate.client import CallError, Client
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import ListSessionsRequest
from tests.servers import PATIENCE, Server, ServerError, free_port

_ROLE = "fleet"
# As docs/ledger.md says.
_LEDGER = (
    f"CREATE ROLE {_ROLE} LOGIN PASSWORD '{{password}}'",
    f"CREATE DATABASE {_ROLE} ENCODING 'UTF8' TEMPLATE template0",
    f"REVOKE CONNECT ON DATABASE {_ROLE} FROM PUBLIC",
    f"GRANT CONNECT ON DATABASE {_ROLE} TO {_ROLE}",
)
_SCHEMA = f"CREATE SCHEMA sessiongate AUTHORIZATION {_ROLE}"
_FIRST = 20.0  # seconds until a core is killed, unless somebody asks for it sooner
_PAUSE = 0.05  # seconds between two looks at a take-over, of which tenths are shown
_EVERYTHING = ListSessionsRequest(page_size=10_000)


@dataclass(frozen=True, slots=True)
class Shard:
    """A set of sources, and the cores that read it."""

    name: str
    cores: tuple[str, str]
    kinds: tuple[str, str]  # of its sources


SHARDS = (
    Shard("shop", ("core-a", "core-b"), ("pgbouncer", "postgresql")),
    Shard("stock", ("core-c", "core-d"), ("haproxy", "mariadb")),
)


class Fleet:
    """The cores, which are killed now and then, and the front over them."""

    def __init__(self, found: Databases, front: str) -> None:
        """Prepare the ledger."""
        self.servers: dict[str, Server] = {}
        self._databases = found
        self._client = Client(front)
        self._shards = cycle(SHARDS)
        self._kill_at = float("inf")
        self._reads_keys = True
        self._grpc = {name: f"{LOOPBACK}:{free_port()}" for each in SHARDS for name in each.cores}
        found.shop.execute(*(each.format(password=found.password) for each in _LEDGER))
        with found.shop.connect(dbname=_ROLE) as connection:
            connection.execute(_SCHEMA.encode())
        place = f"{LOOPBACK}:{found.shop.port}"
        self._ledger = f"postgresql://{_ROLE}:{quote(found.password)}@{place}/{_ROLE}"

    def start(self, name: str, settings: Mapping[str, object], kinds: Iterable[str] = ()) -> None:
        """Start a core of a shard, or a front."""
        mine = {**settings, "name": name, "ledger": self._ledger}
        # Else a source on this machine would be one of this core alone.
        self.servers[name] = self._databases.sessiongate(name, mine, kinds, "core", shared=True)

    def start_core(self, shard: Shard, name: str) -> None:
        """Start one of a shard's cores."""
        self.start(name, {"grpc": self._grpc[name], "shard": shard.name}, shard.kinds)

    def close(self) -> None:
        """End everything."""
        self._client.close()
        for server in self.servers.values():
            server.close()

    def begin(self) -> None:
        """From now on, kill a core if that is asked for, the first one in any case."""
        self._kill_at = time.monotonic() + _FIRST

    def go_on(self, stop: Stop) -> None:
        """Kill a core if it is time to."""
        if self._is_asked() or time.monotonic() > self._kill_at:
            self._kill_at = float("inf")
            self._kill(next(self._shards), stop)
            print("\nPress Enter to kill another one.", flush=True)

    def _is_asked(self) -> bool:
        """Return whether Enter was pressed."""
        if not self._reads_keys or not sys.stdin.isatty():
            return False
        if not select.select([sys.stdin], [], [], 0)[0]:
            return False
        self._reads_keys = bool(os.read(sys.stdin.fileno(), 1024))
        return self._reads_keys

    def _kill(self, shard: Shard, stop: Stop) -> None:
        before = self._look(shard)
        if before is None:
            print(f"\nThe shard {shard.name} is not whole yet: no core was killed.", flush=True)
            return
        (killed,) = before.cores
        self.servers[killed].kill()
        at = time.monotonic()
        stop.step(f"\nKilled {killed}, which was active for the shard {shard.name}")
        while (after := self._look(shard)) is None or killed in after.cores:
            if time.monotonic() > at + PATIENCE:
                raise ServerError(f"no core has taken over from {killed}")
            stop.wait(_PAUSE)
        (active,) = after.cores
        print(
            f"{active} took over: the front shows its sessions {time.monotonic() - at:.1f} s later."
        )
        print(f"{before.compared(after)}", flush=True)
        self.start_core(shard, killed)
        print(f"{killed} runs again, and stands by.", flush=True)

    def _look(self, shard: Shard) -> _Shown | None:
        """Return what the front shows of a shard; None if it does not know all of it."""
        try:
            page = self._client.list_sessions(_EVERYTHING)
            sources = self._client.list_sources()
        except CallError:
            return None
        cores = {each.core for each in sources if each.name in shard.kinds}
        if {*page.unreachable} & {*shard.kinds} or len(cores) != 1 or "" in cores:
            return None
        return _Shown(cores, [each for each in page.sessions if each.source in shard.kinds])


class _Shown:
    """The cores that read a shard, and its sessions, at a moment."""

    def __init__(self, cores: set[str], sessions: Iterable[Session]) -> None:
        self.cores = cores
        self._ids = {_key(each): each.id for each in sessions}

    def compared(self, later: _Shown) -> str:
        """Return what has become of these sessions."""
        lasting = self._ids.keys() & later._ids.keys()
        kept = sum(self._ids[key] == later._ids[key] for key in lasting)
        ended, begun = len(self._ids) - len(lasting), len(later._ids) - len(lasting)
        told = f"{kept} of {len(lasting)} sessions that are still there kept their ids"
        return f"{told}; {ended} ended meanwhile, and {begun} began."


def _key(session: Session) -> tuple[str, str, int]:
    """Return what distinguishes a session from all others, except its id."""
    return session.source, session.native_id, session.connect_time.ToNanoseconds()


@contextmanager
def running_fleet(http: str, grpc: str, step: Step) -> Iterator[tuple[dict[str, Server], Fleet]]:
    """Run the servers, the fleet, a gateway and the clients until the block ends."""
    with databases(step, fsync="on") as found, ExitStack() as stack:
        fleet = Fleet(found, grpc)
        stack.callback(fleet.close)
        for shard in SHARDS:
            active, other = shard.cores
            step(f"Starting {active} and {other} for the shard {shard.name}")
            for name in shard.cores:
                fleet.start_core(shard, name)
        step("Starting a front over both, and a gateway of it")
        fleet.start("front-1", {"grpc": grpc, "fleet": True})
        settings = {"http": http, "core": grpc}
        gate = stack.enter_context(found.sessiongate("gateway", settings, (), "serve"))
        step(f"Connecting {len(clients())} clients")
        playing = stack.enter_context(found.connect_clients())
        servers = {**found.servers, "The program of the clients": playing, "Sessiongate": gate}
        yield servers, fleet
