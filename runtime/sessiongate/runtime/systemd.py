"""Notifications to a service manager about a program's state (sd_notify)."""

from __future__ import annotations

import os
import socket

READY = "READY=1"
STOPPING = "STOPPING=1"


class Notifier:
    """Notifies the service manager that started this program, if one did and wants to know.

    It removes ``NOTIFY_SOCKET`` from the environment: the programs that this one starts
    are not the service.
    """

    def __init__(self) -> None:
        self._path = os.environ.pop("NOTIFY_SOCKET", "")

    def __call__(self, state: str) -> None:
        """Send one state. Raises `OSError` if the service manager is not there."""
        if not self._path:
            return
        # A name that begins with @ is not a file but in the kernel's own namespace.
        name = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), name)
