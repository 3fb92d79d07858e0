"""Real cores that share a ledger in a real PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from sessiongate.client import CallError, Client
from sessiongate.core.fleet.directory import Fleet, FleetMember, read_fleet
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.schema import require_tables
from tests.clocks import OwnClock
from tests.core.engines import ROLE, Engine
from tests.polling import eventually
from tests.program import PATIENCE, ForkedProgram


class FleetCore(ForkedProgram):
    """A running ``sessiongate core`` of a fleet, which listens."""

    def __init__(
        self,
        url: str,
        name: str,
        source: str,
        *arguments: str,
        shard: str = "",
        clock: OwnClock | None = None,
    ) -> None:
        self.name = name
        shards = ("--shard", shard) if shard else ()
        super().__init__(
            *("core", "--grpc", "127.0.0.1:0", "--source", source, "--name", name),
            *(*shards, *arguments),
            SESSIONGATE_LEDGER=url,
            **({} if clock is None else clock.environment),
        )
        try:
            self.address = self.expect("^listening on (.*)$")[1]
        except BaseException:
            self.close()
            raise

    def ids(self) -> set[int]:
        """Return the ids of its sessions. Raises `CallError`."""
        with Client(self.address) as client:
            return {each.id for each in client.sessions()}

    def metrics(self) -> dict[str, float]:
        """Return its metrics, without their labels, as soon as there is an answer.

        They move when it becomes active or stands by, and what it has printed of that may be read
        late.
        """
        answer = eventually(self._metrics)
        assert answer is not None
        return {
            sample.name: sample.value
            for metric in text_string_to_metric_families(answer.text)
            for sample in metric.samples
        }

    def _metrics(self) -> httpx.Response | None:
        places = re.findall(r"metrics at (http[^\s\"]+)", self.output)
        try:
            return httpx.get(places[-1], timeout=PATIENCE, trust_env=False) if places else None
        except httpx.TransportError:
            return None

    def ids_in_time(self) -> set[int]:
        """Return the ids as soon as there is an answer."""
        found = eventually(self._answer, lambda answer: not isinstance(answer, CallError))
        assert isinstance(found, set)
        return found

    def _answer(self) -> set[int] | CallError:
        try:
            return self.ids()
        except CallError as error:
            return error


class FleetFront(ForkedProgram):
    """A running front of a fleet, which listens."""

    def __init__(self, url: str, name: str, *arguments: str) -> None:
        super().__init__(
            *("core", "--fleet", "--grpc", "127.0.0.1:0", "--name", name, *arguments),
            SESSIONGATE_LEDGER=url,
        )
        try:
            self.address = self.expect("^listening on (.*)$")[1]
        except BaseException:
            self.close()
            raise


class FleetLedger:
    """A ledger, and what it tells of the fleet."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.database = engine.database()
        self.url = engine.url(self.database)
        self._connection: LedgerConnection | None = None

    def fleet(self) -> Fleet:
        """Return the fleet as it is now."""
        if self._connection is None or self._connection.is_lost:
            self.close()
            self._connection = self._connect()
        with self._connection.naming_errors():
            return read_fleet(self._connection)

    def _connect(self) -> LedgerConnection:
        connection = LedgerConnection(LedgerPlace.parse(self.url), "tests")
        with ExitStack() as unless_ready:
            unless_ready.callback(connection.close)
            with connection.naming_errors():
                require_tables(connection)
            unless_ready.pop_all()
        return connection

    def active(self, shard: str = "default") -> str | None:
        """Return the name of a shard's active core."""
        found = self.fleet().shard(shard)
        return found.active.name if found and found.active else None

    def member(self, name: str) -> FleetMember:
        """Return a member of the fleet."""
        (found,) = (each for each in self.fleet().members if each.name == name)
        return found

    def begin_anew(self) -> None:
        """Drop all that the ledger has, and let it be made again."""
        with self.engine.server.connect(dbname=self.database) as connection:

            def has_dropped() -> bool:
                try:
                    connection.execute("DROP SCHEMA sessiongate CASCADE")
                except psycopg.errors.DeadlockDetected:  # with a core that writes
                    return False
                return True

            eventually(has_dropped)
            connection.execute(f"CREATE SCHEMA sessiongate AUTHORIZATION {ROLE}".encode())

    def until_active(self, name: str, shard: str = "default") -> None:
        """Wait until a core is active."""
        eventually(lambda: self.active(shard), lambda found: found == name)

    def until_standing_by(self, *names: str, shard: str = "default") -> None:
        """Wait until exactly these cores stand by."""

        def standing_by() -> set[str]:
            fleet = self.fleet()
            found = fleet.shard(shard)
            return {each.name for each in fleet.standing_by(found)} if found else set()

        eventually(standing_by, lambda found: found == {*names})

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


@contextmanager
def fleet_ledger(engine: Engine) -> Iterator[FleetLedger]:
    """Make a ledger in a server; read it until the block ends."""
    ledger = FleetLedger(engine)
    try:
        yield ledger
    finally:
        ledger.close()
