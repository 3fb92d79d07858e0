"""The delay from a change at a source to a response, and from a core's death to recovery.

Both are measured from outside: a source's document is replaced, and one REST connection
requests its session repeatedly until it returns the new one.
"""

from __future__ import annotations

import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from bench.programs import PATIENCE, BenchError, Program
from bench.stack import Stage, sessiongate, steady_id, wait_for, write_steady

INTERVAL = 0.02  # seconds between two observations of the document
STARTED = "started"  # the user of the first change, which is not measured
_PAUSE = 0.001  # seconds between a response and the next request


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds until the new core's first correct response in REST."""

    since_listening: float  # since the new core listened
    since_killed: float  # since the old one was killed, with the supervisor's pause


@dataclass(frozen=True, slots=True)
class Serving:
    """A core and a gateway, as ``sessiongate serve`` starts them."""

    program: Program
    folder: Path
    http: str
    core: str
    steady: int

    def show(self, user: str) -> float:
        """Replace the document; return the time."""
        write_steady(self.folder, user)
        return time.perf_counter()

    def seen(self, user: str) -> float:
        """Return the time at which the first response with a user was complete."""
        wanted = f'"user":"{user}"'.encode()
        end = time.monotonic() + PATIENCE
        connection = HTTPConnection(self.http, timeout=PATIENCE)
        while time.monotonic() < end:
            try:
                connection.request("GET", f"/v1/sessions/{self.steady}")
                response = connection.getresponse()
                if wanted in response.read() and response.status == 200:
                    connection.close()
                    return time.perf_counter()
            except (OSError, HTTPException):
                connection.close()
            time.sleep(_PAUSE)
        raise BenchError(f"a change was not seen within {PATIENCE:g} seconds")


def freshness(stage: Stage, samples: int) -> list[float]:
    """Return the seconds from each replacement of the document to the first response, sorted."""
    with serving(stage.sources) as found:
        return sorted(_delay(found, f"changed_{number}") for number in range(samples))


def recovery(stage: Stage, samples: int) -> list[Recovery]:
    """Kill the core repeatedly; while it is dead, change the document."""
    with serving(stage.sources) as found:
        return [_recover(found, f"recovered_{number}") for number in range(samples)]


def _delay(serving: Serving, user: str) -> float:
    time.sleep(random.uniform(1, 2) * INTERVAL)  # at a random moment between two observations
    return -serving.show(user) + serving.seen(user)


def _recover(serving: Serving, user: str) -> Recovery:
    core = next(
        process
        for process in serving.program.processes()
        if process.cmdline()[-2:] == ["-m", "sessiongate.core"]
    )
    killed = time.perf_counter()
    core.send_signal(signal.SIGKILL)
    core.wait(PATIENCE)
    serving.show(user)
    listening: list[float] = []
    watcher = Thread(target=lambda: listening.append(_listens(serving.core)))
    watcher.start()
    seen = serving.seen(user)
    watcher.join()
    return Recovery(seen - listening[0], seen - killed)


def _listens(address: str) -> float:
    """Return the time at which an address begins to accept connections."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            socket.create_connection((host, int(port))).close()
        except OSError:
            time.sleep(_PAUSE)
        else:
            return time.perf_counter()
    raise BenchError(f"the core did not listen again within {PATIENCE:g} seconds")


@contextmanager
def serving(sources: Callable[[Path, float], Sequence[str]]) -> Iterator[Serving]:
    """Serve ``sources``: options, given a folder and the document's interval in seconds."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        ports = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        with sessiongate(folder, "serve", *ports, *sources(folder, INTERVAL)) as program:
            http = program.expect(r"http://([0-9.:]+)/v1/sessions")
            core = program.expect(r"gRPC +([0-9.:]+)")
            wait_for(http, "/v1/sessions?page[size]=1")
            found = Serving(program, folder, http, core, steady_id(core))
            # While a core starts, its sources wait for each other.
            found.show(STARTED)
            found.seen(STARTED)
            yield found
