"""The demonstration as a whole: started, shown, watched and ended."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import socket
import time
from collections.abc import Mapping
from typing import NoReturn

from demo.fleet import Fleet, running_fleet
from demo.servers import BIN, LOOPBACK, check_temporary_folder, install_programs, running
from demo.stop import Stop
from sessiongate.client import CallError, Client
from sessiongate.v1.address import DEFAULT_ADDRESS
from sessiongate.v1.session_service_pb2 import SessionFilter
from tests.servers import PATIENCE, Server, ServerError, free_port

_HTTP = 8989
_GRPC = int(DEFAULT_ADDRESS.rpartition(":")[2])
_LOOK = 0.3  # seconds between two looks at what may have changed


def demonstrate(stop: Stop) -> NoReturn:
    """Read the command line, and run everything until `Stopped`.

    Raises `ServerError` if a part cannot be started, or Sessiongate ends.
    """
    options = _options()
    ports = options.http or _free(_HTTP), options.grpc or _free(_GRPC)
    http, grpc = (f"{LOOPBACK}:{port}" for port in ports)
    is_default = grpc == DEFAULT_ADDRESS and "SESSIONGATE_CORE" not in os.environ
    # What is set for another Sessiongate, or another PostgreSQL (libpq reads PGSSLMODE and
    # others), is not for these.
    for name in [name for name in os.environ if name.startswith(("SESSIONGATE_", "PG"))]:
        del os.environ[name]
    check_temporary_folder()
    install_programs(stop.step)
    core = "" if is_default else f" --core {grpc}"
    if options.fleet:
        with running_fleet(http, grpc, stop.step) as (servers, fleet):
            _await_shown(grpc, stop)
            print(_told_of_fleet(http, core), flush=True)
            fleet.begin()
            _watch(servers, stop, fleet)
    with running(http, grpc, stop.step) as servers:
        _await_shown(grpc, stop)
        print(_told(http, core), flush=True)
        _watch(servers, stop)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Show Sessiongate at work: PostgreSQL behind PgBouncer and MariaDB behind"
        " HAProxy, with clients that work, idle and block each other, and Sessiongate over all"
        " four. Everything listens on this machine only and keeps its data in private folders."
        " Ctrl-C ends everything and removes the folders.",
        epilog="It needs Debian's packages postgresql, pgbouncer, mariadb-server and haproxy. Root"
        " installs those that are missing, without starting their services; others see what"
        " to type.",
    )
    parser.add_argument(
        "--fleet",
        action="store_true",
        help="run two shards with a stand-by each, and a front; kill cores to see others take over",
    )
    for option, what, port in (("--http", "the page and REST", _HTTP), ("--grpc", "gRPC", _GRPC)):
        parser.add_argument(
            option,
            type=_port,
            metavar="PORT",
            help=f"port for {what} (default: {port}, or a free one if it is in use)",
        )
    return parser.parse_args()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, got {text!r}")
    port = int(text)
    if _free(port) != port:
        raise argparse.ArgumentTypeError(f"port {port} is in use; name another, or none")
    return port


def _free(port: int) -> int:
    """Return this port, or a free one if another program listens there."""
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError:
        return free_port()
    return port


def _await_shown(grpc: str, stop: Stop) -> None:
    """Wait until Sessiongate shows what there is to see: who is blocked, through which proxy."""
    stop.step("Waiting until it shows who blocks whom")
    until = time.monotonic() + PATIENCE
    with Client(grpc) as client:
        while not _shows_blocked(client):
            if time.monotonic() > until:
                raise ServerError("Sessiongate does not show who blocks whom")
            stop.wait(_LOOK)


def _shows_blocked(client: Client) -> bool:
    servers = SessionFilter(sources=["postgresql", "mariadb"])
    try:
        blocked = [each for each in client.sessions(servers) if each.activity.blocked_by_ids]
    except CallError:
        return False  # not every source has been read yet
    return len(blocked) == 2 and all(each.downstream_ids for each in blocked)


def _told(http: str, core: str) -> str:
    """Return what to look at and what to type; ``core`` is the option that names the core."""
    url = f"http://localhost:{http.rpartition(':')[2]}"
    command = _command()
    fields = "user,application,remote,source,activity,downstream"
    return f"""
Look at {url}/, or type, in this folder in another terminal:

  Who blocks whom, through which proxy, for how long?
    {command} blockers{core}
  Who leaves transactions open?
    {command} list{core} --activity 'idle in transaction'
  Both over REST:
    curl -gsG '{url}/v1/sessions?pretty=true&include=downstream&fields[sessions]={fields}' \\
      --data-urlencode 'filter[attributes.activity.state]=or("waiting","idle in transaction")'

Ctrl-C ends everything and leaves nothing behind."""


def _command() -> str:
    """Return how to type the command in this folder."""
    command = "sessiongate"
    if shutil.which(command) == str(BIN / command):
        return command
    return shlex.quote(os.path.relpath(BIN / command))


def _told_of_fleet(http: str, core: str) -> str:
    url = f"http://localhost:{http.rpartition(':')[2]}"
    return f"""
Look at {url}/, or type, in this folder in another terminal:

  Which core is active for what, and who stands by?
    {_command()} fleet{core}

core-a is killed in 20 seconds, or when you press Enter. Ctrl-C ends everything and leaves nothing
behind."""


def _watch(servers: Mapping[str, Server], stop: Stop, fleet: Fleet | None = None) -> NoReturn:
    """Say if a server ends, until it is time to stop: without Sessiongate, at once."""
    left = dict(servers)
    while True:
        for name in [name for name in left if left[name].process.poll() is not None]:
            server = left.pop(name)
            if name == "Sessiongate":
                raise ServerError(f"Sessiongate has ended. It said:\n{server.output}")
            print(f"{name} has ended; Sessiongate goes on without it.", flush=True)
        if fleet is not None:
            fleet.go_on(stop)
        stop.wait(_LOOK)
