"""Telling a service manager how a program is doing (sd_notify)."""

from __future__ import annotations

import os
import socket

READY = "READY=1"
STOPPING = "STOPPING=1"


class Notifier:
    """Tells the service manager that started this program, if one did and wants to know.

    It takes ``NOTIFY_SOCKET`` off the environment: the programs that this one starts
    are not the service.
    """

    def __init__(self) -> None:
        self._path = os.environ.pop("NOTIFY_SOCKET", "")

    def __call__(self, state: str) -> None:
        """Tell one thing. Raises `OSError` where the service manager is not there."""
        if not self._path:
            return
        # A name that begins with @ is not a file but in the kernel's own name space.
        name = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), name)
