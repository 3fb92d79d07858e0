"""Metrics of one process and of many, and the listener that shows them."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from sessiongate.runtime import watched_file
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.listener import ListenError, listen
from sessiongate.runtime.telemetry.exporter import Exporter, exporting
from sessiongate.runtime.telemetry.loop_lag import LoopLag
from sessiongate.runtime.telemetry.metrics import ProcessCollector, WorkerCollector, registry
from tests.certificates import Authority, Pair
from tests.credentials import CredentialFiles, cases
from tests.servers import PATIENCE

WORKER = """
import sys
from pathlib import Path
from sessiongate.runtime.telemetry.metrics import share
share(Path(sys.argv[1]))
from prometheus_client import Counter, Gauge, Histogram
Counter("done_total", "Done.", ["kind"]).labels("a").inc(int(sys.argv[2]))
Histogram("took_seconds", "Took.", buckets=(1, 2)).observe(float(sys.argv[2]))
Gauge("newest", "Newest.", multiprocess_mode="livemax").set(int(sys.argv[2]))
print("counted", flush=True)
sys.stdin.read()
"""


def worker(folder: Path, amount: int) -> subprocess.Popen[str]:
    """Start a process that counts, and stays until its standard input ends."""
    command = [sys.executable, "-c", WORKER, str(folder), str(amount)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def samples(shown: CollectorRegistry) -> dict[str, float]:
    """Return every sample, by its name and its labels' values."""
    return {
        "/".join((sample.name, *sample.labels.values())): sample.value
        for metric in shown.collect()
        for sample in metric.samples
    }


def test_workers_are_added_up_and_gauges_go_with_them(tmp_path: Path) -> None:
    shown = registry(WorkerCollector(tmp_path))
    assert samples(shown) == {}
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(tmp_path, amount)) for amount in (1, 2)]
        for each in workers:
            assert each.stdout
            assert each.stdout.readline() == "counted\n"
        everything = {
            "done_total/a": 3,
            "newest": 2,
            "took_seconds_bucket/1.0": 1,
            "took_seconds_bucket/2.0": 2,
            "took_seconds_bucket/+Inf": 2,
            "took_seconds_count": 2,
            "took_seconds_sum": 3,
        }
        assert samples(shown) == everything
        workers[1].communicate()
        assert samples(shown) == {**everything, "newest": 1}


def test_the_disk_space_of_a_worker_s_files_is_reserved(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from sessiongate.runtime.telemetry.metrics import share
share(Path(sys.argv[1]))
from sessiongate.gateway.http.metrics import GatewayMetrics
metrics = GatewayMetrics()
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    sizes = {path.name.rpartition("_")[0]: path.stat() for path in tmp_path.iterdir()}
    assert sorted(sizes) == ["gauge_livemin", "gauge_livesum", "histogram"]
    assert {found.st_size for found in sizes.values()} == {512 * 1024}
    assert all(found.st_blocks * 512 >= found.st_size for found in sizes.values())


def test_a_process_shows_what_it_takes() -> None:
    shown = samples(registry(ProcessCollector(lambda: {"me": os.getpid(), "nobody": 2**22 + 1})))
    assert shown["process_resident_memory_bytes/me"] > 1_000_000
    assert shown["process_open_fds/me"] > 2
    assert shown["process_cpu_seconds_total/me"] > 0
    assert shown["process_start_time_seconds/me"] > 1_500_000_000
    assert len(shown) == 4


def test_a_turn_of_a_loop_keeps_what_is_due_waiting() -> None:
    shown = CollectorRegistry()
    lag = LoopLag("mine", shown)

    async def take_long(work: bool) -> None:
        end = time.thread_time() + 0.1
        with lag.sampling():
            while work and time.thread_time() < end:
                pass
            if not work:
                time.sleep(0.1)  # noqa: ASYNC251 - in one turn
            await asyncio.sleep(0.05)

    asyncio.run(take_long(work=False))
    asleep = samples(shown)
    # What was due within the turn waited for its end: seen but for a period of 20 ms.
    assert asleep["sessiongate_loop_lag_seconds_sum/mine"] > 0.075
    assert asleep["sessiongate_loop_lag_cpu_seconds_sum/mine"] < 0.075
    asyncio.run(take_long(work=True))
    both = samples(shown)
    assert both["sessiongate_loop_lag_cpu_seconds_sum/mine"] > 0.075
    asyncio.run(asyncio.sleep(0.05))
    assert samples(shown) == both, "it goes on"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def either_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run exporters on the loop of the gateway's main process, then on that of the core."""
    monkeypatch.setattr(asyncio, "new_event_loop", request.param)


@pytest.fixture
def exporter(either_loop: None) -> Iterator[str]:
    """Run an exporter that shows one counter; yield its address."""
    shown = CollectorRegistry()
    Counter("done_total", "Done.", registry=shown).inc(7)
    exporter = Exporter("127.0.0.1:0", shown)
    with exporting(exporter):
        yield exporter.url.removeprefix("http://").removesuffix("/metrics")


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def test_metrics_are_shown_to_a_prometheus_server(exporter: str) -> None:
    answer = httpx.get(f"http://{exporter}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    [metric] = [m for m in text_string_to_metric_families(answer.text) if m.name == "done"]
    assert metric.samples[0].value == 7
    modern = httpx.get(
        f"http://{exporter}/metrics", headers={"Accept": "application/openmetrics-text"}
    )
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")
    head = httpx.head(f"http://{exporter}/metrics")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(answer.content)))


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/", None, 404),
        ("POST", "/metrics", None, 405),
        ("GET", "/metrics", "rebound.example", 421),
        ("GET", "/metrics", "Localhost:9180", 200),
        ("GET", "/metrics", "localhost", 200),
        ("GET", "/metrics", "localhost:65536", 421),
        ("GET", "/metrics", "::1", 421),
        ("GET", "/metrics?x=1", "[::1]:9180", 200),
    ],
)
def test_nothing_else_is_answered(
    exporter: str, method: str, path: str, host: str | None, status: int
) -> None:
    headers = {"Host": host} if host else {}
    answer = httpx.request(method, f"http://{exporter}{path}", headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\x16\x03\x01\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"421"),
    ],
)
def test_what_is_malformed_is_refused(exporter: str, request_: bytes, status: bytes) -> None:
    with connect(exporter) as client:
        client.sendall(request_)
        assert client.recv(100).split(b" ")[1] == status


def test_one_that_sends_nothing_hinders_nobody(exporter: str) -> None:
    with connect(exporter) as silent:
        silent.sendall(b"GET /met")
        assert httpx.get(f"http://{exporter}/metrics").status_code == 200


def test_of_too_many_connections_the_oldest_is_cut(
    exporter: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(connect(exporter)) for _ in range(40)]
        assert httpx.get(f"http://{exporter}/metrics").status_code == 200
        assert crowd[0].recv(100) == b""
        crowd[-1].sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert crowd[-1].recv(100).split(b" ")[1] == b"200"
    assert caplog.text == ""


def test_one_that_others_reach_is_asked_for_by_any_name() -> None:
    exporter = Exporter("0.0.0.0:0", CollectorRegistry())
    with exporting(exporter):
        here = exporter.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(here, headers={"Host": "metrics.example"}).status_code == 200


def test_an_exporter_may_share_its_program_s_loop() -> None:
    async def ask() -> int:
        exporter = Exporter("127.0.0.1:0", CollectorRegistry())
        await exporter.start()
        async with httpx.AsyncClient() as client:
            answer = await client.get(exporter.url)
        await exporter.stop()
        return answer.status_code

    assert asyncio.run(ask()) == 200


def test_an_address_in_use_is_named() -> None:
    with closing(listen("127.0.0.1:0")) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ListenError, match=f"cannot listen on {address}: another program listens there"
        ):
            listen(address)


@pytest.mark.usefixtures("either_loop")
def test_metrics_are_guarded_as_the_other_listeners_are(tmp_path: Path) -> None:
    files, authority = CredentialFiles(tmp_path), Authority(tmp_path)
    pair = authority.issue("server")
    protection = Protection(tls_cert=str(pair.cert), tls_key=str(pair.key), **files.settings)
    exporter = Exporter("127.0.0.1:0", CollectorRegistry(), protection)
    context = ssl.create_default_context(cafile=authority.cert)
    with exporting(exporter), httpx.Client(verify=context, trust_env=False) as client:
        assert exporter.url.startswith("https://127.0.0.1:")
        for value, reason in cases().values():
            headers = {"Authorization": value} if value else {}
            answer = client.get(exporter.url, headers=headers)
            assert answer.status_code == (401 if reason else 200)
            assert ("www-authenticate" in answer.headers) == (reason is not None)
        with socket.create_connection((answer.url.host, answer.url.port or 0)) as plain:
            plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" not in plain.recv(100)


@pytest.mark.usefixtures("either_loop")
def test_a_new_certificate_is_shown_from_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_file, "POLL_INTERVAL", 0.0)
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    protection = Protection(tls_cert=str(pair.cert), tls_key=str(pair.key))
    exporter = Exporter("127.0.0.1:0", CollectorRegistry(), protection)
    context = ssl.create_default_context(cafile=authority.cert)

    def serial() -> str:
        place = httpx.URL(exporter.url)
        with (
            socket.create_connection((place.host, place.port or 0), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            shown: Any = connection.getpeercert()
            return str(shown["serialNumber"])

    with exporting(exporter):
        first = serial()
        authority.issue("server", replace=True)
        assert serial() != first


@pytest.mark.usefixtures("either_loop")
def test_a_ca_that_is_taken_out_lets_nobody_in_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_file, "POLL_INTERVAL", 0.0)
    old, new = Authority(tmp_path), Authority(tmp_path, "new")
    server, before, after = old.issue("server"), old.issue("before"), new.issue("after")
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(old.cert.read_bytes())
    protection = Protection(
        tls_cert=str(server.cert), tls_key=str(server.key), tls_client_ca=str(trusted)
    )
    exporter = Exporter("127.0.0.1:0", CollectorRegistry(), protection)

    def is_let_in(pair: Pair) -> bool:
        context = ssl.create_default_context(cafile=old.cert)
        context.load_cert_chain(pair.cert, pair.key)
        try:
            with httpx.Client(verify=context, trust_env=False) as client:
                return client.get(exporter.url).is_success
        except httpx.TransportError:
            return False

    with exporting(exporter):
        assert (is_let_in(before), is_let_in(after)) == (True, False)
        trusted.write_bytes(new.cert.read_bytes())
        assert (is_let_in(before), is_let_in(after)) == (False, True)
