"""TLS between real gRPC servers and clients."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub, add_HealthServicer_to_server

from sessiongate.runtime import watched_file
from sessiongate.runtime.tls import (
    ClientTls,
    ServerTls,
    grpc_channel_credentials,
    grpc_server_credentials,
)
from sessiongate.runtime.watched_file import FileError
from tests.certificates import Authority, Pair

LONG = 20.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> Pair:
    return authority.issue("server")


def serving(tls: ServerTls, test: Callable[[int], Awaitable[None]]) -> None:
    """Run a server that speaks TLS only; the test is given its port."""

    async def main() -> None:
        running = grpc.aio.server()
        add_HealthServicer_to_server(health.HealthServicer(), running)
        port = running.add_secure_port("127.0.0.1:0", grpc_server_credentials(tls))
        await running.start()
        try:
            await test(port)
        finally:
            await running.stop(None)

    asyncio.run(main())


async def call(port: int, tls: ClientTls) -> grpc.StatusCode:
    """Make a call over a new connection; return how it ends."""
    credentials = grpc_channel_credentials(tls)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options) as channel:
        stub: Any = HealthStub(channel)  # its methods have no types
        try:
            await stub.Check(HealthCheckRequest(), timeout=LONG)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def test_a_client_that_trusts_the_ca_is_served(server: Pair, authority: Authority) -> None:
    async def test(port: int) -> None:
        assert await call(port, ClientTls(authority.cert)) is grpc.StatusCode.OK

    serving(ServerTls(server.cert, server.key), test)


def test_a_server_of_another_ca_or_another_name_is_not_trusted(
    server: Pair, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    stranger = authority.issue("stranger", "elsewhere.example")

    async def test(port: int) -> None:
        assert await call(port, ClientTls(other.cert)) is grpc.StatusCode.UNAVAILABLE

    async def misnamed(port: int) -> None:
        assert await call(port, ClientTls(authority.cert)) is grpc.StatusCode.UNAVAILABLE

    serving(ServerTls(server.cert, server.key), test)
    serving(ServerTls(stranger.cert, stranger.key), misnamed)


def test_a_client_ca_makes_a_certificate_a_must(
    server: Pair, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    mine, foreign = authority.issue("client"), other.issue("foreign")

    async def test(port: int) -> None:
        ca = authority.cert
        assert await call(port, ClientTls(ca, mine.cert, mine.key)) is grpc.StatusCode.OK
        assert await call(port, ClientTls(ca)) is grpc.StatusCode.UNAVAILABLE
        refused = await call(port, ClientTls(ca, foreign.cert, foreign.key))
        assert refused is grpc.StatusCode.UNAVAILABLE

    serving(ServerTls(server.cert, server.key, authority.cert), test)


def test_a_new_certificate_is_for_new_connections(
    server: Pair, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_file, "POLL_INTERVAL", 0.0)
    other = Authority(tmp_path, "other")

    async def test(port: int) -> None:
        assert await call(port, ClientTls(authority.cert)) is grpc.StatusCode.OK
        other.issue("server", replace=True)
        assert await call(port, ClientTls(authority.cert)) is grpc.StatusCode.UNAVAILABLE
        assert await call(port, ClientTls(other.cert)) is grpc.StatusCode.OK
        server.key.write_text("broken")
        assert await call(port, ClientTls(other.cert)) is grpc.StatusCode.OK

    serving(ServerTls(server.cert, server.key), test)


@pytest.mark.parametrize(
    ("version", "is_served"),
    [("-tls1", False), ("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)],
)
def test_the_floor_is_1_2(server: Pair, version: str, is_served: bool) -> None:
    async def test(port: int) -> None:
        # By itself, OpenSSL accepts the old versions only at this level.
        asking = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", version),
            *("-cipher", "DEFAULT@SECLEVEL=0"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(asking.communicate(), LONG)
        assert (b"Cipher is (NONE)" not in output) is is_served, output

    serving(ServerTls(server.cert, server.key), test)


def test_each_file_that_cannot_be_used_is_named(
    server: Pair, authority: Authority, tmp_path: Path
) -> None:
    other, absent = authority.issue("second"), tmp_path / "absent"
    empty, locked = tmp_path / "empty", tmp_path / "locked.key"
    empty.touch()
    rsa_key = tmp_path / "rsa.key"
    rsa_key.write_bytes(
        rsa.generate_private_key(65537, 2048).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"swordfish")
        )
    )
    for tls, trouble in (
        (ServerTls(absent, server.key), "absent: no such file"),
        (ServerTls(server.cert, absent), "absent: no such file"),
        (ServerTls(server.cert, server.key, absent), "absent: no such file"),
        (ServerTls(tmp_path, server.key), "is a folder, not a file"),
        (ServerTls(server.key, server.key), r"server\.key contains no PEM certificate"),
        (ServerTls(empty, server.key), "empty contains no PEM certificate"),
        (ServerTls(server.cert, server.cert), r"server\.pem contains no PEM private key"),
        (
            ServerTls(server.cert, other.key),
            r"second\.key does not match the certificate in .*server\.pem",
        ),
        (
            ServerTls(server.cert, rsa_key),
            r"rsa\.key does not match the certificate in .*server\.pem",
        ),
        (ServerTls(server.cert, locked), r"locked\.key contains no .* without a password"),
        (ServerTls(server.cert, server.key, server.key), "contains no PEM certificate"),
    ):
        with pytest.raises(FileError, match=trouble):
            grpc_server_credentials(tls)
    for client, trouble in (
        (ClientTls(absent), "absent: no such file"),
        (ClientTls(server.key), "contains no PEM certificate"),
        (ClientTls(authority.cert, server.cert, other.key), "does not match"),
    ):
        with pytest.raises(FileError, match=trouble):
            grpc_channel_credentials(client)


def test_the_systems_own_bundle_is_a_ca() -> None:
    bundle = ssl.get_default_verify_paths().cafile
    if bundle is None:
        pytest.skip("this machine has no bundle of CAs")
    grpc_channel_credentials(ClientTls(Path(bundle)))
