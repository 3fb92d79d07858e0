"""The messages that a service manager receives, over the socket that it would listen on."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sessiongate.runtime.systemd import READY, STOPPING, Notifier
from tests.servers import PATIENCE


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_the_service_manager_is_told(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(tmp_path / "notify") if kind == "file" else f"@sessiongate-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1))
        manager.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify = Notifier()
        assert "NOTIFY_SOCKET" not in os.environ
        notify(READY)
        assert manager.recv(100) == b"READY=1"
        notify(STOPPING)
        assert manager.recv(100) == b"STOPPING=1"


def test_without_one_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier()(READY)
