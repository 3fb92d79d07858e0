"""A source whose answer is far too large: only the source suffers, and nobody waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import httpx

from tests.faults.beside import Beside
from tests.faults.processes import MIB, peak
from tests.faults.scale import figure, times
from tests.polling import eventually
from tests.program import DOCUMENT, PATIENCE, Forked

BYTES = 180_000_000
SESSIONS = times(20_000, 200_000)  # of the source, at most; twice as many are read
SECONDS = times(0.5, 30)
GROWTH = times(50, 200) * MIB
_PART = b"{}," * 20_000


class Endless(BaseHTTPRequestHandler):
    """A MaxScale that has nothing but sessions, as many as fit, from a moment on."""

    begun = Event()

    def do_GET(self) -> None:
        if not self.path.startswith("/v1/sessions") or not self.begun.is_set():
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):  # it is not read to its end
            self.wfile.write(b'{"data":[')
            for _ in range(BYTES // len(_PART)):
                self.wfile.write(_PART)
            self.wfile.write(b"{}]}")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def endless() -> Iterator[str]:
    """Serve one; yield its URL."""
    Endless.begun.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"maxscale+http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def test_calls_are_answered_and_memory_stays_while_an_answer_is_far_too_large() -> None:
    with (
        endless() as url,
        Forked(
            *("--source", DOCUMENT),
            *("--source", f"{url}?name=large&timeout=60&interval=0.1&max_sessions={SESSIONS}"),
        ) as serving,
        httpx.Client(base_url=f"http://{serving.http}", timeout=PATIENCE) as rest,
    ):
        core = serving.core()
        before = core.memory_info().rss
        with Beside(f"http://{serving.http}", serving.grpc) as beside:
            Endless.begun.set()
            most = peak(core, SECONDS)

            def partial() -> str:
                nonlocal most
                most = max(most, core.memory_info().rss)
                found = rest.get("/v1/sources/large").json()["data"]["attributes"]
                return str(found.get("partial"))

            eventually(partial, lambda said: f"{2 * SESSIONS} sessions" in said)
        after = core.memory_info().rss
        assert "Traceback" not in serving.output
    assert max(most, after) - before < GROWTH
    figure(f"a source answers {BYTES // 10**6} MB: the slowest call, ms", beside.slowest())
    grown = {"at the peak": (most - before) // MIB, "after": (after - before) // MIB}
    figure(f"a source answers {BYTES // 10**6} MB: growth of the core, MiB", grown)
