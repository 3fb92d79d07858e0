"""The programs of a fleet under faults: each with its own way to the ledger, and its own clock."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from grpc import StatusCode

from sessiongate.client import CallError, Client
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, ListSessionsResponse
from tests.clocks import OwnClock
from tests.faults.links import Link
from tests.program import PATIENCE, ForkedProgram

_EVERYTHING = ListSessionsRequest(page_size=10_000)
_TIMEOUT = 3.0  # seconds that an answer may take


class _Run(ForkedProgram):
    """One life of a program."""

    def __init__(self, arguments: tuple[str, ...], variables: Mapping[str, str]) -> None:
        self._client: Client | None = None
        super().__init__("core", *arguments, **variables)

    def ask(self) -> ListSessionsResponse:
        """Return all its sessions. Raises `CallError`, also if it does not listen yet."""
        if self._client is None:
            found = re.search("^listening on (.*)$", self.output, re.MULTILINE)
            if found is None:
                raise CallError(StatusCode.UNAVAILABLE, None, "it does not listen yet")
            self._client = Client(found[1], timeout=_TIMEOUT)
        return self._client.list_sessions(_EVERYTHING)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        super().close()


class FleetProgram:
    """A core or a front, started again whenever it has ended."""

    def __init__(self, name: str, shard: str, link: Link, clock: OwnClock) -> None:
        """Take it to be a front if it has no shard."""
        self.name, self.shard, self.link, self.clock = name, shard, link, clock
        self.is_stopped = False
        self._arguments: tuple[str, ...] = ()
        self._variables: dict[str, str] = {}
        self._run: _Run | None = None
        self._said: list[str] = []  # by its earlier lives

    def prepare(self, url: str, *arguments: str) -> None:
        """Set what it is started with."""
        mine = ("--fleet",) if not self.shard else ("--shard", self.shard)
        self._arguments = ("--grpc", "127.0.0.1:0", "--name", self.name, *mine, *arguments)
        self._variables = {"SESSIONGATE_LEDGER": url, **self.clock.environment}

    def start(self) -> None:
        """Start it; do not wait until it listens."""
        self._run = _Run(self._arguments, self._variables)

    def kill(self) -> None:
        """End it at once."""
        self._forget(is_killed=True)

    def terminate(self) -> None:
        """End it in order."""
        self._forget(is_killed=False)

    def stop(self) -> None:
        """Stop it: its connections stay, and it does nothing (SIGSTOP)."""
        self.is_stopped = True
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after that."""
        self.signal(signal.SIGCONT)
        self.is_stopped = False

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self._run is not None:
            self._run.process.send_signal(number)

    def revive(self) -> str | None:
        """Start it if it has ended by itself; return what it said if it was up before.

        One that never was may have been refused, as by a ledger without a schema.
        """
        run = self._run
        if run is None or run.process.poll() is None:
            return None
        self._forget(is_killed=True)
        self.start()
        if "listening on" not in self._said[-1]:
            return None
        return f"{self.name} ended: {self._said[-1][-500:]}"

    @property
    def said(self) -> str:
        """All that it has printed, in all its lives."""
        return "\n".join([*self._said, self._run.output if self._run else ""])

    def ask(self) -> ListSessionsResponse:
        """Return all its sessions. Raises `CallError`, also if it does not listen yet."""
        run = self._run
        if run is None:
            raise CallError(StatusCode.UNAVAILABLE, None, "it does not run")
        return run.ask()

    def close(self) -> None:
        """End it for good."""
        if self.is_stopped:
            self.go_on()
        self._forget(is_killed=False)

    def _forget(self, *, is_killed: bool) -> None:
        run, self._run = self._run, None
        if run is not None:
            if is_killed:
                run.process.kill()
                run.process.wait(PATIENCE)
            run.close()
            self._said.append(run.output)
