"""Many sources at ``max_sessions`` whose sessions are all replaced at each observation."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from threading import Thread
from typing import ClassVar

import httpx

from tests.faults.beside import Beside
from tests.faults.loop_lags import ARGUMENTS, LoopLags
from tests.faults.processes import MIB, peak
from tests.faults.scale import FULL, figure, times
from tests.polling import eventually
from tests.program import DATA, DOCUMENT, PATIENCE, Forked

SOURCES = times(3, 20)
SESSIONS = times(300, 2_500)  # of each source
SECONDS = times(2, 180)
# For sessions, past changes and what is remembered of an answer; it grows no further.
GROWTH = times(150 * MIB, SOURCES * SESSIONS * 12 * 1024 + 250 * MIB)


def bodies() -> Sequence[bytes]:
    """Make two answers that have no session in common, one more each than allowed."""
    data = json.loads((DATA / "sessions.json").read_bytes())["data"]

    def session(ident: int) -> object:
        made = copy.deepcopy(data[ident % 3])
        made["id"] = str(ident)
        made["attributes"]["user"] = f"user {ident}"
        return made

    starts = 1, 1_000_000
    return [
        json.dumps({"data": [session(start + n) for n in range(SESSIONS + 1)]}).encode()
        for start in starts
    ]


class Flapping(BaseHTTPRequestHandler):
    """MaxScales, by path, each of which alternates between the answers."""

    answers: Sequence[bytes] = ()
    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        _, name, _, resource = self.path.partition("?")[0].split("/", 3)
        if resource != "sessions":
            self.send_error(404)
            return
        self.asked[name] += 1
        answer = self.answers[self.asked[name] % len(self.answers)]
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def flapping() -> Iterator[int]:
    """Serve them; yield their port."""
    Flapping.answers, Flapping.asked = bodies(), Counter()
    with ThreadingHTTPServer(("127.0.0.1", 0), Flapping) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def url(port: int, number: int) -> str:
    """Return the URL of one of them."""
    place = f"maxscale+http://127.0.0.1:{port}/{number}?name=flapping{number}&timezone=UTC"
    return f"{place}&timeout=120&interval=0.2&max_sessions={SESSIONS}"


def test_all_sources_flap_at_once_and_every_answer_is_whole() -> None:
    with (
        flapping() as port,
        Forked(
            *("--source", DOCUMENT, *(ARGUMENTS if FULL else ())),
            *chain.from_iterable(("--source", url(port, number)) for number in range(SOURCES)),
        ) as serving,
        httpx.Client(base_url=f"http://{serving.http}", timeout=PATIENCE) as rest,
    ):
        core = serving.core()
        before = core.memory_info().rss
        with LoopLags(serving) as lags, Beside(f"http://{serving.http}", serving.grpc) as beside:
            most = peak(core, SECONDS)
            eventually(lambda: len(Flapping.asked) == SOURCES and min(Flapping.asked.values()) > 1)
        states = rest.get("/v1/sources").json()["data"]
        assert "Traceback" not in serving.output
    # Each source's sessions are all there, or none.
    assert {(total - 3) % SESSIONS for total in beside.totals} == {0}
    assert {each["attributes"]["state"] for each in states} == {"reachable"}
    partial = {each["attributes"]["partial"] for each in states} - {""}
    assert partial == {f"only max_sessions={SESSIONS} are shown"}
    assert most - before < GROWTH
    what = f"{SOURCES} sources of {SESSIONS:,} sessions that all go and come"
    figure(f"{what}: the slowest call, ms", beside.slowest())
    figure(f"{what}: longest turn of a loop, ms of CPU, at most", lags.longest())
    figure(f"{what}: growth of the core at the peak, MiB", (most - before) // MIB)
    figure(f"{what}: observations", sum(Flapping.asked.values()))
