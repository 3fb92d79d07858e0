"""Who may call the core: every method, with credentials of every kind."""

from __future__ import annotations

import asyncio
import importlib
import logging
import pkgutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import copy_context
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import sessiongate.v1
from sessiongate.core.grpc.authentication import AuthenticationInterceptor
from sessiongate.core.grpc.call_counts import CallCounts
from sessiongate.core.grpc.call_log import CallLog
from sessiongate.core.grpc.hardened import grpc_server
from sessiongate.core.grpc.interceptor import MethodHandler
from sessiongate.core.grpc.reflection import V1
from sessiongate.core.grpc.unwinding import Unwinding
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from sessiongate.runtime.auth.authenticator import Authenticator
from sessiongate.runtime.auth.credentials import Credentials
from sessiongate.runtime.auth.htpasswd import remove_user
from sessiongate.runtime.auth.identity import CALLER_METADATA, Identity, Proof, Refusal, caller
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.auth.throttle import BURST
from sessiongate.runtime.auth.tokens import LEEWAY
from sessiongate.runtime.telemetry.logs import LogLines, LogSettings
from sessiongate.runtime.tls import (
    ClientTls,
    ServerTls,
    grpc_channel_credentials,
    grpc_server_credentials,
)
from sessiongate.v1.errors import STATUS_TRAILER
from sessiongate.v1.service_names import FLEET_SERVICE
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, ListSessionsResponse
from tests.certificates import Authority
from tests.credentials import CORE_TOKEN, USER, CredentialFiles, basic, bearer, cases
from tests.servers import free_port

DOCUMENT = Path(__file__).parent.parent / "data" / "sessions.json"
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
REASONS = {kind.reason for kind in Refusal.__subclasses__()}
LONG = 20.0

Metadata = tuple[tuple[str, str], ...]


def methods() -> dict[str, Any]:
    """Return every method that a core serves, by path; new ones are included automatically.

    For those that only a front serves see tests/test_fronts.py.
    """
    files: list[Any] = [health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR, V1]
    for module in pkgutil.iter_modules(sessiongate.v1.__path__):
        if module.name.endswith("_pb2"):
            files.append(importlib.import_module(f"sessiongate.v1.{module.name}").DESCRIPTOR)
    return {
        f"/{service.full_name}/{method.name}": method
        for file in files
        for service in file.services_by_name.values()
        if service.full_name != FLEET_SERVICE
        for method in service.methods
    }


def call(channel: Any, method: Any, metadata: Metadata) -> Any:
    """Call any method with an empty request; return how that ends, or the first response."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    details: dict[str, Any] = {"metadata": metadata, "timeout": LONG}
    if method.client_streaming:
        return exchange(channel.stream_stream(path), details)
    if method.server_streaming:
        return channel.unary_stream(path)(b"", **details).read()
    return channel.unary_unary(path)(b"", **details)


async def exchange(method: Any, details: dict[str, Any]) -> Any:
    """Send an empty request on a stream of them; return the first response."""
    while True:
        try:
            return await method(iter([b""]), **details).read()
        except grpc.aio.AioRpcError as error:
            # grpc.aio's own, instead of the server's status: its request was on its way when the
            # call ended.
            if error.details() != "Internal error from Core":
                raise


def connect(address: str, tls: grpc.ChannelCredentials | None = None) -> Any:
    """Open a separate channel, without types: its calls take bytes."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if tls is None:
        return grpc.aio.insecure_channel(address, options)
    return grpc.aio.secure_channel(address, tls, options)


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, Status] | None:
    """Return how a caller is refused: code, reason and full status; None if it is let in."""
    try:
        await call
        return None
    except grpc.aio.AioRpcError as error:
        ended = error
    trailers: dict[str, Any] = dict(ended.trailing_metadata() or ())
    status, info = Status.FromString(trailers.get(STATUS_TRAILER, b"")), ErrorInfo()
    if not status.details or not status.details[0].Unpack(info) or info.reason not in REASONS:
        return None  # it was let in, and failed for another reason
    assert ended.details() == status.message
    return ended.code(), info.reason, status


def authorization(value: str | None) -> Metadata:
    return () if value is None else (("authorization", value),)


@pytest.fixture
def files(tmp_path: Path) -> CredentialFiles:
    return CredentialFiles(tmp_path)


def run(test: Callable[[Core], Awaitable[None]], protection: Protection, **settings: Any) -> None:
    async def main() -> None:
        config = CoreConfig(
            # One of them allows actions, so that there is the service for them.
            sources=(
                SourceConfig.parse(f"document:{DOCUMENT}"),
                SourceConfig.parse(f"postgresql://a@127.0.0.1:{free_port()}?actions=terminate"),
            ),
            grpc="127.0.0.1:0",
            grace=0.5,
            protection=protection,
            **settings,
        )
        async with Core(config) as core:
            await core.table.ready.wait()
            await test(core)

    asyncio.run(main())


@pytest.mark.parametrize("path", methods())
def test_every_method_asks_for_credentials_but_health(path: str, files: CredentialFiles) -> None:
    method = methods()[path]
    is_open = method.containing_service.full_name == HEALTH

    async def test(core: Core) -> None:
        async with connect(core.address) as channel:
            for name, (value, reason) in cases().items():
                refused = await refusal(call(channel, method, authorization(value)))
                if is_open or reason is None:
                    assert refused is None, name
                else:
                    assert refused is not None, name
                    assert refused[:2] == (grpc.StatusCode.UNAUTHENTICATED, reason), name
            gateways = authorization(f"Bearer {CORE_TOKEN}")
            assert await refusal(call(channel, method, gateways)) is None

    run(test, Protection(**files.settings), core_token_file=str(files.core_token))


def test_without_credentials_configured_nobody_is_asked() -> None:
    async def test(core: Core) -> None:
        async with connect(core.address) as channel:
            for path, method in methods().items():
                assert await refusal(call(channel, method, ())) is None, path

    run(test, Protection())


def test_that_a_method_does_not_exist_is_no_secret(files: CredentialFiles) -> None:
    async def test(core: Core) -> None:
        async with connect(core.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await channel.unary_unary("/sessiongate.v1.SessionService/Nothing")(b"")
            assert ended.value.code() is grpc.StatusCode.UNIMPLEMENTED

    run(test, Protection(**files.settings))


def test_who_called_is_logged_and_so_is_who_was_refused(
    files: CredentialFiles, caplog: pytest.LogCaptureFixture
) -> None:
    method = methods()["/sessiongate.v1.SessionService/ListSessions"]

    async def test(core: Core) -> None:
        async with connect(core.address) as channel:
            assert await refusal(call(channel, method, ()))
            assert await refusal(call(channel, method, authorization(basic()))) is None
            check = methods()[f"/{HEALTH}/Check"]
            assert await refusal(call(channel, check, ())) is None

    before = time.time()
    with caplog.at_level(logging.INFO, "core.access"):
        run(test, Protection(**files.settings), logs=LogSettings(access_log=True))
    records = [record for record in caplog.records if isinstance(record, LogLines)]
    assert {record.name for record in records} == {"core.access"}
    lines = [line for record in records for line in record.lines]
    assert [(line.message, line.members["user"]) for line in lines] == [
        ("sessiongate.v1.SessionService/ListSessions UNAUTHENTICATED", ""),
        ("sessiongate.v1.SessionService/ListSessions OK", USER),
        ("grpc.health.v1.Health/Check OK", ""),
    ]
    times = [line.time for line in lines]
    assert before <= times[0] <= times[1] <= times[2] <= time.time()


@pytest.mark.parametrize("path", [path for path in methods() if "ServerReflection" in path])
def test_reflection_can_be_off(path: str) -> None:
    async def test(core: Core) -> None:
        async with connect(core.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await call(channel, methods()[path], ())
            assert ended.value.code() is grpc.StatusCode.UNIMPLEMENTED

    run(test, Protection(), reflection=False)


# Credentials that are valid when a stream begins, what happens then, and why it ends.
LATER: dict[str, tuple[Callable[[], str], Callable[[CredentialFiles], object], str]] = {
    "a token expires": (
        lambda: bearer(exp=time.time() - LEEWAY + 4),
        lambda files: None,
        "CREDENTIALS_EXPIRED",
    ),
    "a key is replaced": (
        bearer,
        lambda files: files.token_secret.write_text("another" * 10),
        "CREDENTIALS_WRONG",
    ),
    "a user is taken out": (
        basic,
        lambda files: remove_user(files.users, USER),
        "CREDENTIALS_WRONG",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("later", LATER)
def test_a_stream_ends_when_its_callers_credentials_do(later: str, files: CredentialFiles) -> None:
    credentials, happens, reason = LATER[later]

    async def test(core: Core) -> None:
        path = "/sessiongate.v1.SessionService/WatchSessions"
        async with connect(core.address) as channel:
            await channel.channel_ready()
            metadata = authorization(credentials())
            stream = channel.unary_stream(path)(b"", metadata=metadata, timeout=LONG)
            messages = aiter(stream)
            await anext(messages)
            happens(files)

            async def read() -> None:
                async for _ in messages:
                    pass

            refused = await refusal(read())
            assert refused is not None
            assert refused[:2] == (grpc.StatusCode.UNAUTHENTICATED, reason)

    run(test, Protection(**files.settings))


def test_too_many_wrong_passwords_are_told_when_to_come_back(files: CredentialFiles) -> None:
    async def test(core: Core) -> None:
        method = methods()["/sessiongate.v1.SessionService/ListSessions"]
        async with connect(core.address) as channel:
            for number in range(BURST):
                wrong = authorization(basic(password=f"guess {number}"))
                assert await refusal(call(channel, method, wrong))
            refused = await refusal(call(channel, method, authorization(basic())))
            assert refused is not None
            code, reason, status = refused
            assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_ATTEMPTS")
            retry = RetryInfo()
            assert status.details[1].Unpack(retry)
            assert retry.retry_delay.seconds > 0
            assert await refusal(call(channel, method, authorization(bearer()))) is None

    run(test, Protection(**files.settings))


def test_tls_and_a_certificate_are_enough(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client", common_name="billing")
    protection = Protection(
        tls_cert=str(server.cert), tls_key=str(server.key), tls_client_ca=str(authority.cert)
    )

    async def test(core: Core) -> None:
        address = core.address.replace("127.0.0.1", "localhost")
        credentials = grpc_channel_credentials(ClientTls(authority.cert, client.cert, client.key))
        async with connect(address, credentials) as channel:
            listed = await channel.unary_unary("/sessiongate.v1.SessionService/ListSessions")(
                ListSessionsRequest().SerializeToString(), timeout=LONG
            )
            assert len(ListSessionsResponse.FromString(listed).sessions) == 3

    run(test, protection)


def test_the_private_way_knows_no_tls_but_asks_for_credentials(
    tmp_path: Path, files: CredentialFiles
) -> None:
    server = Authority(tmp_path).issue("server")
    protection = Protection(
        tls_cert=str(server.cert), tls_key=str(server.key), users=str(files.users)
    )
    private = f"unix:{tmp_path}/core.sock"

    async def test(core: Core) -> None:
        method = methods()["/sessiongate.v1.SessionService/ListSessions"]
        async with connect(private) as channel:
            assert await refusal(call(channel, method, ()))
            gateways = authorization(f"Bearer {CORE_TOKEN}")
            assert await refusal(call(channel, method, gateways)) is None

    run(test, protection, core_token_file=str(files.core_token), private=private)


# Which caller a method sees.


async def names_one(request: bytes, context: Any) -> bytes:
    return told()


async def names_many(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield told()


async def writes(request: bytes, context: Any) -> None:
    await context.write(told())


async def reads(requests: AsyncIterator[bytes], context: Any) -> bytes:
    assert [request async for request in requests] == [b""]
    return told()


def told() -> bytes:
    identity = caller.get()
    assert identity is not None
    # Whatever a method starts keeps its context, perhaps for long: no credentials may be in it.
    assert "authorization" not in repr([*copy_context().values()])
    return identity.encode().encode()


def echo_server(authenticator: Authenticator) -> grpc.aio.Server:
    """Make a server with a method of each kind, which answers with its caller's identity."""
    outer = Unwinding(), CallLog(CallCounts(), access_log=False)
    server = grpc_server([*outer, AuthenticationInterceptor(authenticator)], [])
    handlers: dict[str, MethodHandler] = {
        "unary": grpc.unary_unary_rpc_method_handler(names_one),
        "generator": grpc.unary_stream_rpc_method_handler(names_many),
        "writer": grpc.unary_stream_rpc_method_handler(writes),
        "reader": grpc.stream_unary_rpc_method_handler(reads),
        "both": grpc.stream_stream_rpc_method_handler(names_many),
    }
    server.add_registered_method_handlers("echo", handlers)
    return server


def echoing(
    credentials: Credentials,
    test: Callable[[int], Awaitable[None]],
    tls: ServerTls | None = None,
) -> None:
    async def main() -> None:
        authenticator = Authenticator(credentials)
        server = echo_server(authenticator)
        if tls is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("127.0.0.1:0", grpc_server_credentials(tls))
        await server.start()
        try:
            await test(port)
        finally:
            await server.stop(None)
            authenticator.close()

    asyncio.run(main())


def identity_of(answer: bytes) -> Identity:
    return Identity.decode(answer.decode())


def test_every_kind_of_method_is_told_who_calls(files: CredentialFiles) -> None:
    async def test(port: int) -> None:
        details: dict[str, Any] = {"metadata": authorization(basic()), "timeout": LONG}
        async with connect(f"127.0.0.1:{port}") as channel:
            answers = [
                await channel.unary_unary("/echo/unary")(b"", **details),
                await channel.unary_stream("/echo/generator")(b"", **details).read(),
                await channel.unary_stream("/echo/writer")(b"", **details).read(),
                await channel.stream_unary("/echo/reader")(iter([b""]), **details),
                await channel.stream_stream("/echo/both")(iter([b""]), **details).read(),
            ]
            assert {identity_of(answer) for answer in answers} == {
                Identity("alice", Proof.PASSWORD)
            }
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await channel.unary_unary("/echo/nothing")(b"", timeout=LONG)
            assert ended.value.code() is grpc.StatusCode.UNIMPLEMENTED

    echoing(Credentials(users=files.users), test)


def test_only_a_gateway_is_believed_who_calls_it(files: CredentialFiles) -> None:
    carol = Identity("carol ö", Proof.TOKEN)
    named = (CALLER_METADATA, carol.encode())
    gateway = ("authorization", f"Bearer {CORE_TOKEN}")

    async def test(port: int) -> None:
        async def told(*metadata: tuple[str, str]) -> Identity:
            answer = await unary(b"", metadata=metadata, timeout=LONG)
            return identity_of(answer)

        async with connect(f"127.0.0.1:{port}") as channel:
            unary = channel.unary_unary("/echo/unary")
            assert await told(gateway, named) == carol
            assert await told(gateway) == Identity("gateway", Proof.GATEWAY)
            nonsense = (CALLER_METADATA, "nonsense")
            assert await told(gateway, nonsense) == Identity("gateway", Proof.GATEWAY)
            for other in (basic(), bearer()):
                assert await told(("authorization", other), named) != carol

    echoing(
        Credentials(files.users, token_secret=files.token_secret, core_token=files.core_token), test
    )


def test_a_certificate_names_its_caller(tmp_path: Path, files: CredentialFiles) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server")
    named = authority.issue("named", "host.example", common_name="billing")
    unnamed = authority.issue("unnamed", "reports.example", "other.example")
    credentials = Credentials(users=files.users, certificates=True)

    async def test(port: int) -> None:
        for pair, metadata, expected in (
            (named, (), Identity("billing", Proof.CERTIFICATE)),
            (unnamed, (), Identity("reports.example", Proof.CERTIFICATE)),
            (named, authorization(basic()), Identity("alice", Proof.PASSWORD)),
        ):
            tls = grpc_channel_credentials(ClientTls(authority.cert, pair.cert, pair.key))
            async with connect(f"localhost:{port}", tls) as channel:
                unary = channel.unary_unary("/echo/unary")
                answer = await unary(b"", metadata=metadata, timeout=LONG)
                assert identity_of(answer) == expected
                wrong = unary(b"", metadata=authorization(basic("mallory")), timeout=LONG)
                assert await refusal(wrong)

    echoing(credentials, test, ServerTls(server.cert, server.key, authority.cert))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_addresses_are_held_up_apart(host: str, files: CredentialFiles, tmp_path: Path) -> None:
    async def main() -> None:
        authenticator = Authenticator(Credentials(users=files.users))
        server = echo_server(authenticator)
        port = server.add_insecure_port(f"{host}:0")
        server.add_insecure_port(f"unix:{tmp_path}/echo.sock")
        await server.start()
        try:
            async with connect(f"{host}:{port}") as one:
                for number in range(BURST):
                    wrong = authorization(basic(password=f"guess {number}"))
                    assert await refusal(one.unary_unary("/echo/unary")(b"", metadata=wrong))
                right = authorization(basic())
                refused = await refusal(one.unary_unary("/echo/unary")(b"", metadata=right))
                assert refused
                assert refused[1] == "TOO_MANY_ATTEMPTS"
            async with connect(f"unix:{tmp_path}/echo.sock") as other:
                assert await other.unary_unary("/echo/unary")(b"", metadata=right)
        finally:
            await server.stop(None)
            authenticator.close()

    asyncio.run(main())
