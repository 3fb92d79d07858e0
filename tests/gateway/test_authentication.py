"""Who may ask: every route, with credentials of every kind."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from starlette.routing import Route

from sessiongate.gateway.app import create_app
from sessiongate.gateway.http.authentication import OPEN, AuthenticationMiddleware
from sessiongate.gateway.http.normalize_path import routed
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.runtime.auth import throttle
from sessiongate.runtime.auth.authenticator import Authenticator
from sessiongate.runtime.auth.credentials import Credentials
from sessiongate.runtime.auth.identity import CALLER_METADATA, Identity, Proof, caller
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.auth.throttle import BURST
from sessiongate.v1.session_service_pb2 import GetSessionResponse
from tests.credentials import CORE_TOKEN, CredentialFiles, basic, bearer, cases
from tests.gateway.programs import in_process
from tests.gateway.scripted import Failure, ScriptedCore, session


@pytest.fixture
def files(tmp_path: Path) -> CredentialFiles:
    return CredentialFiles(tmp_path)


def paths() -> list[str]:
    """Return every path that is routed, and some others; new routes are included automatically."""
    found = ["/nowhere", *OPEN]
    for route in create_app(GatewayConfig()).routes:
        assert isinstance(route, Route), "what else is mounted must be asked too"
        # An event stream has no end: ask for one that there is not, once the caller is known.
        found.append(f"{route.path}?none=1" if "/events/" in route.path else route.path)
    return sorted({re.sub(r"\{\w+\}", "1", path) for path in found})


def forms(paths: list[str]) -> list[tuple[str, str]]:
    """Return every method of every path, and the forms in which callers write it."""
    written = {form for path in paths for form in (f"/v1{path}", _with_slash(path))} - {*paths}
    methods = ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "TRACE", "X")
    return [
        *((method, path) for path in paths for method in methods),
        *((method, path) for path in sorted(written) for method in ("GET", "X")),
    ]


def _with_slash(path: str) -> str:
    path, *query = path.split("?")
    return "?".join([f"{path.rstrip('/')}/", *query])


def test_every_route_asks_for_credentials_but_health(
    core: str, files: CredentialFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "BURST", 1_000_000)
    every = forms(paths())
    # Each route is asked with everything; in each form and by each method, with one of a kind.
    plain = [("GET", path) for path in paths()]
    in_every_form = {"nothing", "a wrong password", "a token"}

    async def main() -> None:
        async with in_process(core, protection=Protection(**files.settings)) as http:
            for name, (value, reason) in cases().items():
                headers = {} if value is None else {"Authorization": value}
                for method, path in every if name in in_every_form else plain:
                    answer = await http.request(method, path, headers=headers)
                    told = f"{method} {path} with {name}: {answer.text}"
                    if routed(path) in OPEN or reason is None:
                        assert answer.status_code not in (401, 403, 429, 500), told
                        continue
                    assert answer.status_code == 401, told
                    assert answer.headers.get_list("WWW-Authenticate") == [
                        'Basic realm="sessiongate", charset="UTF-8"',
                        'Bearer realm="sessiongate"',
                    ], told
                    assert answer.headers["Content-Type"] == "application/vnd.api+json", told
                    if method == "HEAD":
                        continue
                    (error,) = answer.json()["errors"]
                    assert (error["status"], error["code"]) == ("401", reason), told
                    assert error["source"] == {"header": "Authorization"}, told

    asyncio.run(main())


def test_without_credentials_configured_nobody_is_asked(core: str) -> None:
    async def main() -> None:
        async with in_process(core) as http:
            for method, path in forms(paths()):
                assert (await http.request(method, path)).status_code != 401

    asyncio.run(main())


def test_the_secret_of_gateways_lets_nobody_ask_them(core: str, files: CredentialFiles) -> None:
    async def main() -> None:
        async with in_process(core, protection=Protection(**files.settings)) as http:
            headers = {"Authorization": f"Bearer {CORE_TOKEN}"}
            assert (await http.get("/v1/sessions", headers=headers)).status_code == 401

    asyncio.run(main())


def test_too_many_wrong_passwords_are_told_when_to_come_back(
    core: str, files: CredentialFiles
) -> None:
    async def main() -> None:
        async with in_process(core, protection=Protection(users=str(files.users))) as http:
            for number in range(BURST):
                guess = {"Authorization": basic(password=f"guess {number}")}
                assert (await http.get("/v1/sessions", headers=guess)).status_code == 401
            answer = await http.get("/v1/sessions", headers={"Authorization": basic()})
            assert answer.status_code == 429
            assert int(answer.headers["Retry-After"]) > 0
            (error,) = answer.json()["errors"]
            assert (error["status"], error["code"]) == ("429", "TOO_MANY_ATTEMPTS")
            assert (await http.get("/v1/sessions")).status_code == 401

    asyncio.run(main())


class Echo:
    """An application that answers with the caller's identity."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        identity = caller.get()
        assert identity is not None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": identity.encode().encode()})


async def asked(credentials: Credentials, *, certified: bool = False) -> AsyncIterator[Any]:
    authenticator = Authenticator(credentials)
    app = AuthenticationMiddleware(Echo(), authenticator, certified=certified)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http
    authenticator.close()


def test_the_application_is_told_who_asks(files: CredentialFiles) -> None:
    async def main() -> None:
        async for http in asked(Credentials(files.users, token_secret=files.token_secret)):
            for value, identity in (
                (basic(), Identity("alice", Proof.PASSWORD)),
                (bearer(sub="carol ö"), Identity("carol ö", Proof.TOKEN)),
            ):
                answer = await http.get("/", headers={"Authorization": value})
                assert Identity.decode(answer.text) == identity
        assert caller.get() is None

    asyncio.run(main())


def test_two_authorizations_are_wrong(files: CredentialFiles) -> None:
    async def main() -> None:
        async for http in asked(Credentials(files.users)):
            twice = [("Authorization", basic()), ("Authorization", basic())]
            assert (await http.get("/", headers=twice)).status_code == 401

    asyncio.run(main())


@pytest.mark.parametrize("certified", [True, False])
def test_a_certificate_that_the_server_has_seen_may_be_enough(certified: bool) -> None:
    async def main() -> None:
        async for http in asked(Credentials(certificates=True), certified=certified):
            answer = await http.get("/")
            assert answer.status_code == (200 if certified else 401)

    asyncio.run(main())


class ListeningCore(grpc.GenericRpcHandler):
    """Answers GetSession, and keeps the credentials that it was sent."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            self.shown.append(dict(context.invocation_metadata()))
            return GetSessionResponse(session=session(1)).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


def test_the_core_is_told_who_asks_and_shown_the_gateways_secret(files: CredentialFiles) -> None:
    async def main() -> None:
        core = ListeningCore()
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([core])
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        settings = {
            "protection": Protection(**files.settings),
            "core_token_file": files.core_token,
            "replica_staleness": 0.0,
        }
        async with in_process(address, **settings) as http:
            for value in (basic(), bearer()):
                headers = {"Authorization": value, CALLER_METADATA: "password mallory"}
                assert (await http.get("/v1/sessions/1", headers=headers)).status_code == 200
        await server.stop(None)
        assert [shown["authorization"] for shown in core.shown] == [f"Bearer {CORE_TOKEN}"] * 2
        callers = [Identity.decode(shown[CALLER_METADATA]) for shown in core.shown]
        assert callers == [Identity("alice", Proof.PASSWORD), Identity("bob", Proof.TOKEN)]

    asyncio.run(main())


def test_a_core_that_refuses_the_gateway_is_not_the_callers_fault(
    scripted: tuple[ScriptedCore, str], files: CredentialFiles
) -> None:
    core, address = scripted
    core.session = Failure(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_WRONG")

    async def main() -> None:
        async with in_process(address, replica_staleness=0.0) as http:
            answer = await http.get("/v1/sessions/1")
            assert answer.status_code == 502
            (error,) = answer.json()["errors"]
            assert error["code"] == "UNAUTHENTICATED"
            assert error["detail"] == "the core does not trust this gateway"

    asyncio.run(main())
