"""Notifications to a service manager about a program's state (sd_notify)."""

from __future__ import annotations

import os
import socket

READY = "READY=1"
STOPPING = "STOPPING=1"


class Notifier:
    """Notifies the service manager that started this program, if it requests that.

    It removes ``NOTIFY_SOCKET`` from the environment: child processes are not the
    service.
    """

    def __init__(self) -> None:
        self._path = os.environ.pop("NOTIFY_SOCKET", "")

    def __call__(self, state: str) -> None:
        """Send a state. Raises `OSError` if the service manager cannot be reached."""
        if not self._path:
            return
        # A name that begins with @ is in the abstract namespace, not a file.
        name = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), name)
