"""Who may do what to which session: each combination, made from the table of operations."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, product
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from sessiongate.core.sources.base import Action, Observed
from sessiongate.gateway.api.action_operations import ACTIONS
from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.api.path import by_path
from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.limits import CoreLimits
from sessiongate.v1.session_pb2 import ACTIVITY_STATE_ACTIVE
from tests.credentials import USER, CredentialFiles, basic, bearer
from tests.doing import Shown, showing, stated
from tests.gateway.programs import in_process, one_view
from tests.servers import PATIENCE

SENT = {"Content-Type": MEDIA_TYPE}
# What may be done to the sessions of each source; of "unable", the kind can do nothing.
SOURCES = {
    "both": "cancel,terminate",
    "cancel": "cancel",
    "terminate": "terminate",
    "neither": "",
    "unable": None,
    "away": "cancel,terminate",
}
WORDS = {"terminateSession": "terminate", "cancelStatement": "cancel"}


class Caller(NamedTuple):
    """Who asks, and whether that is an operator; None if it is nobody."""

    authorization: str | None
    is_operator: bool | None


CALLERS = {
    "nobody": Caller(None, None),
    "a forged token": Caller(bearer(sub=USER)[:-4] + "AAAA", None),
    "a user in the file": Caller(basic(), True),
    "a token of a name in the file": Caller(bearer(sub=USER), True),
    "a token with the claim": Caller(bearer(groups=["dev", "dba"]), True),
    "a token with another claim": Caller(bearer(groups=["dev"], group="dba"), False),
    "a token": Caller(bearer(), False),
    "a token that calls itself operator": Caller(bearer(role="operator", scope="dba"), False),
}


NUMBERS = count(1)


def alike() -> list[Observed]:
    """Return two new sessions that look the same."""
    return [stated(str(next(NUMBERS)), ACTIVITY_STATE_ACTIVE, user="ann") for _ in range(2)]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make actions wait until their end is known, however slow the machine is."""
    monkeypatch.setattr("sessiongate.gateway.api.actions._WAIT", PATIENCE)


@pytest.fixture
def files(tmp_path: Path) -> CredentialFiles:
    return CredentialFiles(tmp_path)


@pytest.fixture
def shown(files: CredentialFiles, tmp_path: Path) -> Iterator[Shown]:
    """Run a core that believes only its gateways."""
    actions = {name: words for name, words in SOURCES.items() if words is not None}
    with showing(
        {name: alike() for name in SOURCES}, actions, core_token_file=str(files.core_token),
        audit_log=str(tmp_path / "audit.log"), limits=CoreLimits(max_actions=10_000),
    ) as running:  # fmt: skip
        yield running


@asynccontextmanager
async def gateway_of(
    shown: Shown, files: CredentialFiles, view: str, **given: object
) -> AsyncIterator[httpx.AsyncClient]:
    protection = Protection(**{**files.settings, **given})
    staleness = {"replica": 3600.0, "direct": 0.0}[view]
    async with in_process(
        shown.address, core_token_file=str(files.core_token), protection=protection,
        replica_staleness=staleness,
    ) as http:  # fmt: skip
        yield http


def operators(folder: Path) -> dict[str, object]:
    """Return the settings that give the role."""
    path = folder / "operators"
    path.write_text(f"# who acts\n{USER}\n")
    return {"operators": str(path), "operator_claim": ("groups=dba",)}


def expected(caller: Caller, source: str, word: str) -> tuple[int, str | None]:
    """Return the status, and the code of the error, for an act."""
    if caller.is_operator is None:
        return 401, None
    if not caller.is_operator:
        return 403, "OPERATOR_REQUIRED"
    allowed = SOURCES[source]
    if allowed is None:
        return 501, "ACTION_NOT_SUPPORTED"
    if word not in allowed:
        return 403, "ACTION_NOT_ALLOWED"
    return (503, "SOURCE_UNREACHABLE") if source == "away" else (204, None)


COMBINATIONS = [*product(ACTIONS, CALLERS, SOURCES)]


@one_view
def test_each_caller_may_do_what_its_role_and_the_source_allow(
    shown: Shown, files: CredentialFiles, tmp_path: Path, view: str
) -> None:
    async def main() -> None:
        async with gateway_of(shown, files, view, **operators(tmp_path)) as http:
            pairs = {source: await new_sessions(http, shown, source) for source in SOURCES}
            for operation, name, source in COMBINATIONS:
                caller, word = CALLERS[name], WORDS[operation.name]
                first, second = pairs[source]
                shown.acts.clear()
                before = shown.sources[source]
                if source == "away":
                    shown.sources[source] = "out of order"
                answer = await ask(http, operation, first, caller)
                told = f"{operation.name} by {name} of {source}: {answer.text}"
                status, code = expected(caller, source, word)
                assert answer.status_code == status, told
                if code is not None:
                    assert answer.json()["errors"][0]["code"] == code, told
                done = [(Action(word), first)] if status == 204 else []
                assert shown.acts == done, told
                if source == "away":
                    shown.sources[source] = before
                assert second in listed(shown, source), told
                if done:
                    pairs[source] = await new_sessions(http, shown, source)

    asyncio.run(main())


def listed(shown: Shown, source: str) -> list[str]:
    return [each.key for each in shown.sources[source] if isinstance(each, Observed)]


async def new_sessions(http: httpx.AsyncClient, shown: Shown, source: str) -> list[str]:
    """Let a source have two new sessions; return their ids once they are shown."""
    shown.sources[source] = alike()
    idents = listed(shown, source)
    for ident in idents:
        async with asyncio.timeout(PATIENCE):
            while (await get(http, f"/v1/sessions/{ident}")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    return idents


async def get(http: httpx.AsyncClient, path: str) -> httpx.Response:
    return await http.get(path, headers={"Authorization": basic()})


async def ask(
    http: httpx.AsyncClient, operation: Operation, ident: str, caller: Caller
) -> httpx.Response:
    headers = {} if caller.authorization is None else {"Authorization": caller.authorization}
    path = operation.path.replace("{id}", ident)
    return await http.request(operation.method, path, headers=SENT | headers)


METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "X")
PATHS = by_path([*OPERATIONS, *ACTIONS])


def test_each_path_tells_its_methods_and_does_nothing_by_others(
    shown: Shown, files: CredentialFiles, tmp_path: Path
) -> None:
    async def main() -> None:
        async with gateway_of(shown, files, "direct", **operators(tmp_path)) as http:
            (ident, _) = await new_sessions(http, shown, "both")
            described = (await get(http, "/v1/openapi.json")).json()
            headers = SENT | {"Authorization": basic()}
            for path in PATHS:
                url = path.path.replace("{id}", ident)
                answer = await http.options(url, headers=headers)
                assert (answer.status_code, answer.headers["allow"]) == (204, path.allow), url
                methods = {found.upper() for found in described["paths"][path.path]}
                assert methods == {*path.methods}, url
                for method in METHODS:
                    if method in path.methods:
                        continue
                    told = f"{method} {url}"
                    answer = await http.request(method, url, headers=headers)
                    assert (answer.status_code, answer.headers["allow"]) == (405, path.allow), told
                    assert shown.acts == [], told

    asyncio.run(main())


def test_a_gateway_that_gives_the_role_to_nobody_routes_no_action(
    shown: Shown, files: CredentialFiles
) -> None:
    reading = {found.path: found for found in by_path(OPERATIONS)}

    async def main() -> None:
        async with gateway_of(shown, files, "direct") as http:
            (ident, _) = await new_sessions(http, shown, "both")
            described = (await get(http, "/v1/openapi.json")).json()
            headers = SENT | {"Authorization": basic()}
            for path in PATHS:
                read = reading.get(path.path)
                url = path.path.replace("{id}", ident)
                assert (path.path in described["paths"]) == (read is not None), url
                for method in ("POST", "PUT", "PATCH", "DELETE"):
                    told = f"{method} {url}"
                    answer = await http.request(method, url, headers=headers)
                    assert answer.status_code == (404 if read is None else 405), told
                    if read is not None:
                        assert answer.headers["allow"] == read.allow == "GET, HEAD, OPTIONS", told
                    assert shown.acts == [], told

    asyncio.run(main())


def test_who_has_the_role_is_told(shown: Shown, files: CredentialFiles, tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway_of(shown, files, "direct", **operators(tmp_path)) as http:
            for name, caller in CALLERS.items():
                if caller.authorization is None or caller.is_operator is None:
                    continue
                answer = await http.get("/v1/", headers={"Authorization": caller.authorization})
                assert answer.json()["meta"]["operator"] is caller.is_operator, name
        async with gateway_of(shown, files, "direct") as http:
            assert (await get(http, "/v1/")).json()["meta"] == {"name": "sessiongate"}

    asyncio.run(main())


def test_the_core_is_told_who_asked_and_from_where(
    shown: Shown, files: CredentialFiles, tmp_path: Path
) -> None:
    async def main() -> None:
        async with gateway_of(shown, files, "direct", **operators(tmp_path)) as http:
            for caller in CALLERS.values():
                (ident, _) = await new_sessions(http, shown, "both")
                for operation in ACTIONS:
                    await ask(http, operation, ident, caller)

    asyncio.run(main())
    lines = [*map(json.loads, (tmp_path / "audit.log").read_text().splitlines())]
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    assert {(line["operator"], line["proof"]) for line in lines} == {
        *((USER, "password"), (USER, "token"), ("bob", "token"))
    }
    refused = [line for line in lines if line["outcome"] == "operator_required"]
    assert {line["operator"] for line in refused} == {"bob"}


def test_a_certificate_alone_gives_no_role_and_no_route(tmp_path: Path) -> None:
    """The server requires one, but does not tell the application whose it is."""
    path = tmp_path / "operators"
    path.write_text("certificate\n")
    protection = Protection("cert.pem", "key.pem", "ca.pem", operators=str(path))
    assert not GatewayConfig(protection=protection).has_operators


def test_a_gateway_without_operators_imports_nothing_that_acts() -> None:
    script = """
import sys
from sessiongate.gateway.app import create_app
from sessiongate.gateway.openapi.description import describe
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.settings import GatewayConfig
create_app(GatewayConfig())
describe(OPERATIONS, "")
print(*[name for name in sys.modules if "action" in name and name.startswith("sessiongate.")])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
