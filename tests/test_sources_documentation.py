"""docs/sources.md: what it says to paste works in the real programs, straight from the page."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from configparser import RawConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from grp import getgrnam
from pathlib import Path
from shutil import chown

import httpx
import pytest

from sessiongate.core.sources.base import Observation, SourceConfig, SourceError, open_source
from tests.configured import sources_in
from tests.core.documentation import block
from tests.mariadb import documented_lines, mariadb, run
from tests.maxscale import MaxScale
from tests.postgres import PASSWORD, SUPERUSER, running_pgbouncer, running_postgres
from tests.program import PATIENCE, Forked
from tests.servers import Server, certificates, free_port, private_folder, require, write
from tests.snippets import texts

PAGE = "docs/sources.md"
# How Debian's package declares the folder of HAProxy's sockets.
PACKAGED = Path("/usr/lib/tmpfiles.d/haproxy.conf")
# As in Debian's haproxy.cfg, with a frontend that keeps its clients.
AROUND = """\
global
    stats socket {folder}/admin.sock mode 660 level admin
    user haproxy
    group haproxy
    hard-stop-after 1s
defaults
    mode tcp
    timeout connect 60s
    timeout client 1h
    timeout server 1h
frontend plain
    bind 127.0.0.1:{port}
    tcp-request inspect-delay 1h
    tcp-request content accept if {{ req.len gt 0 }}
"""
# In MaxScale's reference of the section [maxscale]. There is no MaxScale here to load it.
MAXSCALE_KEYS = {"admin_host", "admin_ssl_key", "admin_ssl_cert"}
# What "localhost" may be.
LOOPBACK = ("127.0.0.1/32", "::1/128")


def configured(kind: str, folder: Path, place: str, ca: Path) -> SourceConfig:
    """Return the source that a section shows, at an address of this machine."""
    password = folder / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    text = block(kind, "toml")
    # A source on this machine uses TLS only on request, by the scheme or an option.
    tls = "" if "+https:" in text else 'tls = "verify", '
    for shown, here in (
        (r"[a-z0-9]+\.example:\d+", place),
        (r"/etc/sessiongate/[a-z0-9]+", str(password)),
        (r'tls_ca = "[^"]+"', f'{tls}tls_ca = "{ca}"'),
    ):
        text, times = re.subn(shown, here, text)
        assert times == 1, shown
    (config,) = sources_in(text, folder)
    return config


async def observe(config: SourceConfig) -> Observation:
    """Return what a source shows."""
    source = open_source(config)
    try:
        return await source.observe()
    finally:
        await source.close()


def refusal(config: SourceConfig) -> str:
    """Return what a source that cannot be read says."""
    with pytest.raises(SourceError) as caught:
        asyncio.run(observe(config))
    return str(caught.value)


def test_the_lines_for_postgresql_let_it_in(tmp_path: Path) -> None:
    with running_postgres() as server:
        server.execute(*block("PostgreSQL", "sql").splitlines())
        place = f"localhost:{server.port}"
        config = configured("PostgreSQL", tmp_path, place, server.certificates.ca)
        others = f"host all {SUPERUSER} all scram-sha-256\n"
        rules = server.folder / "data" / "pg_hba.conf"
        write(rules, others)
        server.restart()
        assert "no pg_hba.conf entry" in refusal(config)
        line = block("PostgreSQL", "pg_hba")
        assert "192.0.2.10/32" in line
        write(rules, others + "".join(line.replace("192.0.2.10/32", ip) for ip in LOOPBACK))
        server.restart()
        with server.connect() as client:
            (item,) = asyncio.run(observe(config)).sessions
            assert item.session.native_id == str(client.info.backend_pid)


def test_the_lines_for_pgbouncer_let_it_in(tmp_path: Path) -> None:
    users = {SUPERUSER: PASSWORD, "sessiongate": PASSWORD}
    settings = dict(line.split(" = ") for line in block("PgBouncer", "ini").splitlines())
    (zone,) = re.findall(r'timezone = "([^"]+)"', block("PgBouncer", "toml"))
    with (
        running_postgres() as server,
        running_pgbouncer(server, users, {"TZ": zone}, **settings) as pool,
        pool.connect(),
    ):
        place = f"localhost:{pool.port}"
        config = configured("PgBouncer", tmp_path, place, pool.certificates.ca)
        (item,) = asyncio.run(observe(config)).sessions
    assert (item.session.user, item.session.service) == (SUPERUSER, "shop")


def test_the_lines_for_mariadb_let_it_in(tmp_path: Path) -> None:
    *statements, rest = "".join(documented_lines()).split(";")
    assert not rest.strip()
    with mariadb() as server:
        place = f"localhost:{server.port}"
        config = configured("MariaDB and MySQL", tmp_path, place, server.certificates.ca)

        async def main() -> None:
            # Run them again, because a starting server ignores errors.
            async with server.client("root", host="") as root:
                for statement in ("DROP USER sessiongate@'%'", *statements):
                    await run(root, statement)
            async with server.client():
                (item,) = (await observe(config)).sessions
                assert item.session.user == "app"

        asyncio.run(main())


def test_the_lines_for_maxscale_are_its_own() -> None:
    file = RawConfigParser()
    file.read_string(block("MaxScale", "ini"))
    assert file.sections() == ["maxscale"]
    assert set(file["maxscale"]) == MAXSCALE_KEYS


def test_the_source_for_maxscale_reads_it(tmp_path: Path) -> None:
    async def main() -> None:
        with private_folder() as folder:
            tls = certificates(folder)
            async with MaxScale().serving(tls) as place:
                found = await observe(configured("MaxScale", tmp_path, place, tls.ca))
                assert len(found.sessions) == 2

    asyncio.run(main())


def test_the_synthetic_source_is_served() -> None:
    (command,) = texts(PAGE, "sh", "Synthetic")
    program, serve, *arguments = shlex.split(command)
    assert (program, serve) == ("sessiongate", "serve")
    with Forked(*arguments) as served:
        url = f"http://{served.http}/v1/sessions?page[size]=1"
        answer = httpx.get(url, timeout=PATIENCE, trust_env=False)
        assert answer.json()["meta"]["total"] == 10000


@dataclass(frozen=True, slots=True)
class Edge:
    """A HAProxy started as root, with the documented lines, and one client of it."""

    folder: Path  # in place of /run/haproxy
    stats: int  # in place of port 9999
    client: tuple[str, int]


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    binary = require("haproxy", "haproxy")
    as_root()
    (group,) = texts(PAGE, "sh", "HAProxy")
    # The group that it makes stays, as the package's does: others may be testing here now.
    subprocess.run(["sh", "-euc", group], check=True)
    with private_folder() as private:
        private.chmod(0o755)
        folder = packaged(private)
        port, stats = free_port(), free_port()
        lines = "".join(texts(PAGE, "haproxy", "HAProxy"))
        for shown, here in (("/run/haproxy/", f"{folder}/"), (":9999 ", f":{stats} ")):
            assert lines.count(shown) == 1
            lines = lines.replace(shown, here)
        file = write(private / "haproxy.cfg", AROUND.format(folder=folder, port=port) + lines)
        with (
            Server([binary, "-W", "-f", file], ready="Loading success", as_root=True),
            socket.create_connection(("127.0.0.1", port)) as client,
        ):
            yield Edge(folder, stats, client.getsockname()[:2])


def as_root() -> None:
    """Skip the test unless run as root, as if something were not installed; CI skips nothing."""
    if os.geteuid() == 0:
        return
    reason = "only root may make a group, and give a socket to it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def packaged(folder: Path) -> Path:
    """Make the folder of HAProxy's sockets as Debian's package does, but in another one."""
    (line,) = re.findall(r"^d /run/haproxy .*$", PACKAGED.read_text(), re.MULTILINE)
    _, path, mode, user, group, *_ = line.split()
    made = folder / Path(path).name
    made.mkdir()
    chown(made, user, group)
    made.chmod(int(mode, 8))
    return made


@contextmanager
def being(user: str, *groups: str) -> Iterator[None]:
    """Take the rights of a user who is also in some groups."""
    account, mine = pwd.getpwnam(user), os.getgroups()
    os.setgroups([getgrnam(group).gr_gid for group in groups])
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(mine)


def documented_group() -> str:
    """Return the group that the lines for systemd give to sessiongate."""
    unit = RawConfigParser()
    unit.read_string(block("HAProxy", "ini"))
    return unit["Service"]["SupplementaryGroups"]


def clients_of(config: SourceConfig) -> list[tuple[str, int]]:
    found = asyncio.run(observe(config)).sessions
    return [(item.session.remote, item.session.port) for item in found]


def test_who_is_in_the_group_reads_from_haproxy_s_socket(edge: Edge, tmp_path: Path) -> None:
    text = block("HAProxy", "toml")
    assert "/run/haproxy/" in text
    (config,) = sources_in(text.replace("/run/haproxy/", f"{edge.folder}/"), tmp_path)
    with being("nobody", documented_group()):
        assert clients_of(config) == [edge.client]
    with being("nobody"):
        assert "Permission denied" in refusal(config)


def test_who_is_in_the_group_may_not_use_debian_s_socket(edge: Edge) -> None:
    admin = SourceConfig.parse(f"haproxy:{edge.folder}/admin.sock")
    with being("nobody", documented_group()):
        assert "Permission denied" in refusal(admin)
    with being("nobody", "haproxy"):
        assert clients_of(admin) == [edge.client], "so that is no group for those who only look"


def test_haproxy_s_socket_on_loopback_is_read(edge: Edge) -> None:
    assert clients_of(SourceConfig.parse(f"haproxy://127.0.0.1:{edge.stats}")) == [edge.client]


def test_the_readme_shows_lines_of_this_page() -> None:
    shown = [text for kind in ("sql", "ini", "haproxy") for text in texts("README.md", kind)]
    assert len(shown) == 4
    there = [text for kind in ("sql", "ini", "haproxy") for text in texts(PAGE, kind)]
    assert [text for text in shown if text not in there] == []
