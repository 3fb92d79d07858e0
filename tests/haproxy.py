"""A private HAProxy in front of a server that accepts every connection and sends nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.certificates import Authority
from tests.servers import Server, free_port, private_folder, require, write

_CONFIGURATION = """\
global
    stats socket {folder}/operator.sock level operator
    stats socket {folder}/admin.sock level admin
    stats socket {folder}/user.sock level user
    stats socket {folder}/user-number.sock level user severity-output number
    stats socket {folder}/user-string.sock level user severity-output string
    stats socket 127.0.0.1:{stats} level operator
    maxconn 2000
    hard-stop-after 1s
defaults
    mode tcp
    timeout connect 60s
    timeout client 1h
    timeout server 1h
    timeout queue 1h
    option abortonclose
    timeout client-fin 10ms
    timeout server-fin 10ms
frontend plain
    bind 127.0.0.1:{plain}
    bind [::1]:{plain}
    bind unix@{folder}/plain.sock
    default_backend servers
frontend proxied
    bind 127.0.0.1:{proxied} accept-proxy
    default_backend servers
frontend tls
    bind 127.0.0.1:{tls} ssl crt {folder}/tls.pem
    default_backend servers
frontend undecided
    bind 127.0.0.1:{undecided}
    tcp-request inspect-delay 1h
    tcp-request content accept if {{ req.len gt 0 }}
    default_backend servers
frontend web
    mode http
    bind 127.0.0.1:{web}
    default_backend sites
backend servers
    server one 127.0.0.1:{server}
backend sites
    mode http
    server one 127.0.0.1:{server}
listen deaf
    bind 127.0.0.1:{deaf}
    server one 127.0.0.1:{full}
listen narrow
    bind 127.0.0.1:{narrow}
    server one 127.0.0.1:{server} maxconn 1
"""


def configured_haproxy(file: Path) -> Server:
    """Start an HAProxy with the configuration in a file."""
    # With a master process: HAProxy reports readiness in no other way.
    master = ("-W", "-S", file.parent / "master.sock")
    return Server([require("haproxy", "haproxy"), *master, "-f", file], ready="Loading success")


class HAProxy:
    """An HAProxy with frontends on IPv4, IPv6 and a Unix socket, and its server's socket.

    One is behind another proxy (``proxied``), one speaks TLS (``tls``).

    ``ports`` are those of its frontends, by name, of its stats socket (``stats``)
    and of the server: one of its own, unless ``server`` is the port of another.
    `restart` starts a new process.
    """

    def __init__(self, folder: Path, server: int | None) -> None:
        self.folder = folder
        names = ("stats", "plain", "proxied", "tls", "undecided", "web", "narrow", "deaf")
        self.ports = {name: free_port() for name in names}
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2000)
        # What connects to this one after the first is not answered.
        self._full = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.ports["full"] = self._full.getsockname()[1]
        self._first = socket.create_connection(self._full.getsockname())
        self.ports["server"] = server or self.listener.getsockname()[1]
        text = _CONFIGURATION.format(folder=folder, **self.ports)
        self._configuration = write(folder / "haproxy.cfg", text)
        pair = Authority(folder).issue("tls-server")
        write(folder / "tls.pem", pair.cert.read_bytes() + pair.key.read_bytes())
        self.server = configured_haproxy(self._configuration)

    def restart(self) -> None:
        """End it at once, and start it again."""
        self.server.kill()
        self.server = configured_haproxy(self._configuration)

    def connect(self, frontend: str, host: str = "127.0.0.1") -> socket.socket:
        """Connect a client to a frontend."""
        return socket.create_connection((host, self.ports[frontend]))

    def connect_unix(self) -> socket.socket:
        """Connect a client to the frontend ``plain`` through its Unix socket."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.folder / "plain.sock"))
        return client

    def close(self) -> None:
        self.server.close()
        for each in (self.listener, self._first, self._full):
            each.close()


@contextmanager
def haproxy(server: int | None = None) -> Iterator[HAProxy]:
    """Run an HAProxy."""
    with private_folder() as folder:
        running = HAProxy(folder, server)
        try:
            yield running
        finally:
            running.close()
