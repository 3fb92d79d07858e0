"""The gateway's processes: how they start, stop, die and come back."""

from __future__ import annotations

import os
import signal
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from sessiongate.gateway.server.main import run_server
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.runtime.listener import ListenError, listen
from tests.closing import lasting
from tests.gateway.programs import (
    LONG,
    Gateway,
    one_view,
    running_gateway,
    worker_of,
    workers_of,
)
from tests.polling import eventually


def answers(gateway: Gateway) -> bool:
    """Return whether a gateway answers; a worker that has just started may take a while."""
    return httpx.get(gateway.url, timeout=LONG).status_code == 200


@one_view
def test_port_0_is_a_free_one_that_is_told(gateway: Gateway, http: httpx.Client) -> None:
    assert gateway.port > 0
    assert http.get("/").status_code == 200


@one_view
def test_a_port_that_is_taken_is_refused(gateway: Gateway) -> None:
    def on_listening(address: str) -> None:
        raise AssertionError(address)

    config = GatewayConfig(http=gateway.address)
    with pytest.raises(ListenError, match=f"cannot listen on {gateway.address}: another program"):
        run_server(config, on_listening)


def test_a_port_just_used_is_free_again(core: str) -> None:
    with running_gateway(core) as first, httpx.Client(timeout=LONG) as client:
        assert client.get(first.url).status_code == 200
        address = first.address
    with running_gateway(core, http=address) as second:
        assert answers(second)


@pytest.mark.parametrize("host", ["localhost", "[::1]", "127.0.0.2"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    with listen(f"{host}:0") as listener:
        place = listener.getsockname()[:2]
        socket.create_connection(place, timeout=LONG).close()


def test_a_host_that_is_not_here_is_refused() -> None:
    with pytest.raises(ListenError, match=r"on 192\.0\.2\.1:0: this machine has no such"):
        listen("192.0.2.1:0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes_with_0(core: str, number: signal.Signals) -> None:
    with running_gateway(core) as gateway:
        assert answers(gateway)
        worker = worker_of(gateway)
        assert gateway.process.pid
        os.kill(gateway.process.pid, number)
        gateway.process.join(LONG)
        assert gateway.process.exitcode == 0
        assert not worker.is_running()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_request_that_has_begun_is_answered_while_it_stops(
    core: str, number: signal.Signals
) -> None:
    with running_gateway(core) as gateway:
        place = urlsplit(gateway.url)
        address = str(place.hostname), int(place.port or 0)
        with (
            socket.create_connection(address, timeout=LONG) as idle,
            socket.create_connection(address, timeout=LONG) as slow,
        ):
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(12) == b"HTTP/1.1 200"
            slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
            assert gateway.process.pid
            os.kill(gateway.process.pid, number)
            while idle.recv(4096):
                pass  # until the worker closes what is idle: it is stopping
            slow.sendall(b"alhost\r\n\r\n")
            answer = b""
            while part := slow.recv(4096):
                answer += part
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nconnection: close\r\n" in answer.lower()


def test_a_change_is_not_lost_while_a_new_worker_starts(core: str) -> None:
    """It may have read what has changed since: another one is started."""
    with running_gateway(core) as gateway:
        assert answers(gateway)
        assert gateway.process.pid
        first = {worker_of(gateway)}
        os.kill(gateway.process.pid, signal.SIGHUP)
        (second,) = eventually(lambda: {*workers_of(gateway)} - first)
        second.suspend()
        os.kill(gateway.process.pid, signal.SIGHUP)
        time.sleep(0.2)  # until the gateway has seen the signal
        second.resume()
        third = eventually(
            lambda: workers_of(gateway),
            lambda now: len(now) == 1 and not {*now} & {*first, second},
        )
        assert answers(gateway)
        assert workers_of(gateway) == third


def test_ctrl_c_of_a_terminal_reaches_the_gateway_only(core: str) -> None:
    with running_gateway(core) as gateway:
        assert answers(gateway)
        worker = worker_of(gateway)
        assert gateway.process.pid
        assert os.getpgid(worker.pid) != os.getpgid(gateway.process.pid)


def test_a_worker_that_dies_is_replaced_and_nobody_is_turned_away(core: str) -> None:
    with running_gateway(core) as gateway:
        assert answers(gateway)
        dead = worker_of(gateway)
        dead.kill()
        dead.wait(LONG)
        assert answers(gateway)
        assert worker_of(gateway) != dead


def test_a_worker_does_not_outlive_the_gateway(core: str) -> None:
    with running_gateway(core) as gateway:
        assert answers(gateway)
        worker = worker_of(gateway)
        gateway.process.kill()
        gateway.exit_code = -signal.SIGKILL
        assert lasting([worker], LONG) == []
