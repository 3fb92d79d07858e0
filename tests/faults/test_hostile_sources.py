"""Servers that answer endlessly, or next to nothing: each costs only its own source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import httpx
import pytest

from tests.faults.beside import Beside
from tests.faults.floods import SERVERS, serve
from tests.faults.processes import MIB, peak
from tests.faults.scale import figure, times
from tests.forked import FORKING
from tests.program import DOCUMENT, PATIENCE, Forked

SECONDS = times(3, 60)
TIMEOUT = times(1, 10)  # of a source
# For an answer from each server, of up to 128 MiB each, and what is made of them.
PEAK = 3 * 128 * len(SERVERS) * MIB


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """Serve all of them; yield where each is, by what it does."""
    mine, theirs = FORKING.Pipe(duplex=False)
    with mine:
        with theirs:
            process = FORKING.Process(target=serve, args=(theirs,))
            process.start()
        try:
            assert mine.poll(PATIENCE)
            yield mine.recv()
        finally:
            process.kill()
            process.join()


def url(what: str, place: str) -> str:
    """Return the URL of the source that reads one of them."""
    name = what.replace(",", "").replace(" ", "-")
    return f"{SERVERS[what][0].format(place)}?name={name}&timeout={TIMEOUT}"


@pytest.mark.long
def test_a_server_that_answers_without_end_costs_only_its_source() -> None:
    with served() as places:
        sources = chain(*(("--source", url(*server)) for server in places.items()))
        with (
            Forked("--source", DOCUMENT, *sources) as serving,
            httpx.Client(base_url=f"http://{serving.http}", timeout=PATIENCE) as rest,
        ):
            core = serving.core()
            before = core.memory_info().rss
            with Beside(f"http://{serving.http}", serving.grpc) as beside:
                most = peak(core, SECONDS)
            states = {
                each["id"]: each["attributes"]["state"]
                for each in rest.get("/v1/sources").json()["data"]
            }
            assert "Traceback" not in serving.output
    assert {states.pop("sessions.json"), *states.values()} == {"reachable", "unreachable"}
    assert len(states) == len(SERVERS)
    assert most - before < PEAK
    what = "servers of all kinds that answer without end, all at once"
    figure(f"{what}: the slowest call, ms", beside.slowest())
    figure(f"{what}: growth of the core at the peak, MiB", (most - before) // MIB)
