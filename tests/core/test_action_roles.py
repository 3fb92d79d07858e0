"""Who may act on which sessions: each combination of caller, source and method."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from sessiongate.client import Client
from sessiongate.client.errors import CallError, call_error
from sessiongate.runtime.auth.identity import (
    ADDRESS_METADATA,
    CALLER_METADATA,
    OPERATOR,
    ROLE_METADATA,
    Identity,
    Proof,
)
from sessiongate.runtime.tls import ClientTls, grpc_channel_credentials
from sessiongate.v1.errors import Reason
from sessiongate.v1.service_names import SESSION_ACTION_SERVICE
from sessiongate.v1.session_action_service_pb2 import (
    DESCRIPTOR,
    CancelStatementRequest,
    TerminateSessionRequest,
)
from sessiongate.v1.source_service_pb2 import SessionAction
from tests.certificates import Authority, Pair
from tests.core.acting import PATIENT
from tests.credentials import CORE_TOKEN, USER, CredentialFiles, basic, bearer
from tests.gateway.programs import DATA, ROOT, running_core
from tests.polling import eventually
from tests.postgres import PASSWORD, SUPERUSER, Postgres, running_postgres
from tests.servers import free_port

METHODS = DESCRIPTOR.services_by_name["SessionActionService"].methods_by_name
ACTIONS = {"CancelStatement": "cancel", "TerminateSession": "terminate"}
# What each source allows; a document's sessions cannot be acted on at all.
SOURCES = {"all": ["cancel", "terminate"], "cancel": ["cancel"], "terminate": ["terminate"]}
SOURCES |= {"none": [], "document": []}
KNOWN = Identity("ann", Proof.PASSWORD).encode()


class Caller(NamedTuple):
    """A caller, the name by which it is known, and whether it is an operator."""

    metadata: Mapping[str, str]
    name: str
    is_operator: bool
    common_name: str = "nobody"


def token(**claims: object) -> dict[str, str]:
    return {"authorization": bearer(**claims)}


GATEWAY = {"authorization": f"Bearer {CORE_TOKEN}"}
CALLERS = {
    "a user who is named": Caller({"authorization": basic()}, USER, True),
    "a token whose subject is not named": Caller(token(), "bob", False),
    "a token whose subject is named": Caller(token(sub=USER), USER, True),
    "a token with the claim": Caller(token(groups="dba"), "bob", True),
    "a token with the claim in a list": Caller(token(groups=["dev", "dba"]), "bob", True),
    "a token with another value": Caller(token(groups=["dev", "dba2"]), "bob", False),
    "a token with a value within": Caller(token(groups="not dba"), "bob", False),
    "a token with a scope": Caller(token(scope="read sessions:act"), "bob", True),
    "a token with another scope": Caller(token(scope="read sessions:act2"), "bob", False),
    "a token with a claim of another kind": Caller(token(groups={"dba": 1}), "bob", False),
    "a certificate that is named": Caller({}, "operators.example", True, "operators.example"),
    "a certificate that is not": Caller({}, "nobody", False),
    "a user who says that it is one": Caller({**token(), ROLE_METADATA: OPERATOR}, "bob", False),
    "a user who names another one": Caller({**token(), CALLER_METADATA: KNOWN}, "bob", False),
    "a gateway": Caller(GATEWAY, "gateway", False),
    "a gateway's user": Caller({**GATEWAY, CALLER_METADATA: KNOWN}, "ann", False),
    "a gateway's operator": Caller(
        {**GATEWAY, CALLER_METADATA: KNOWN, ROLE_METADATA: OPERATOR}, "ann", True
    ),
    "a gateway's caller with another role": Caller(
        {**GATEWAY, ROLE_METADATA: "viewer"}, "gateway", False
    ),
}


class Scene(NamedTuple):
    """A core, its sessions by source, and what its callers need."""

    address: str
    sessions: Mapping[str, int]
    authority: Authority
    pairs: Mapping[str, Pair]
    audit: Path


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def scene(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("roles")
    files, authority = CredentialFiles(folder), Authority(folder)
    pairs = {
        name: authority.issue(name, common_name=name) for name in ("nobody", "operators.example")
    }
    serving = authority.issue("server")
    operators = folder / "operators"
    operators.write_text(f"# who may act\n\n{USER}\n  operators.example  \n")
    audit = folder / "audit.log"
    settings = {
        **files.settings,
        "core_token_file": str(files.core_token),
        "tls_cert": str(serving.cert),
        "tls_key": str(serving.key),
        "tls_client_ca": str(authority.cert),
        "operators": str(operators),
        "operator_claim": ["groups=dba", "scope=sessions:act"],
        "max_actions": 100_000,
        "audit_log": str(audit),
    }
    url = f"postgresql://{SUPERUSER}@127.0.0.1:{server.port}"
    sources: list[Mapping[str, object]] = [
        {"url": url, "name": name, "password": PASSWORD, "actions": actions}
        for name, actions in SOURCES.items()
        if name != "document"
    ]
    sources.append({"url": f"document:{DATA / 'sessions.json'}", "name": "document"})
    with (
        server.connect(application_name="aim"),
        running_core(*sources, ready=False, **settings) as address,
    ):
        made = Scene(address, {}, authority, pairs, audit)
        with client(made, CALLERS["a certificate that is not"]) as asking:

            def look() -> dict[str, int]:
                found = {each.source: each.id for each in asking.sessions()}
                return found if found.keys() == SOURCES.keys() else {}

            sessions = eventually(lambda: _quietly(look))
        yield made._replace(sessions=sessions)


def _quietly(look: Any) -> dict[str, int]:
    try:
        found: dict[str, int] = look()
    except CallError:  # not ready yet
        return {}
    return found


@contextmanager
def client(scene: Scene, caller: Caller) -> Iterator[Client]:
    """Make a client with a caller's certificate and metadata."""
    pair = scene.pairs[caller.common_name]
    tls = ClientTls(scene.authority.cert, pair.cert, pair.key)
    credentials = grpc_channel_credentials(tls)
    metadata = {ADDRESS_METADATA: "192.0.2.7", **caller.metadata}
    with Client(
        scene.address,
        timeout=PATIENT,
        credentials=credentials,
        metadata=lambda: metadata.items(),
    ) as made:
        with suppress(CallError):  # connect: an act is not tried again if that fails
            made.list_sources()
        yield made


@pytest.mark.parametrize("name", CALLERS)
def test_each_combination_of_caller_source_and_method(scene: Scene, name: str) -> None:
    caller = CALLERS[name]
    assert {*METHODS} == {*ACTIONS}, "a new method is another action"
    with client(scene, caller) as asking:
        for method, source in product(METHODS, SOURCES):
            action = ACTIONS[method]
            if not caller.is_operator:
                expected = Reason.OPERATOR_REQUIRED
            elif source == "document":
                expected = Reason.ACTION_NOT_SUPPORTED
            elif action not in SOURCES[source]:
                expected = Reason.ACTION_NOT_ALLOWED
            else:
                expected = Reason.SESSION_CHANGED
            before = size_of(scene.audit)
            # The revision is nobody's, so that nothing is done.
            assert reason(asking, method, scene.sessions[source]) == expected, (method, source)
            (line,) = lines(scene, before)
            assert line["outcome"] == expected.lower()
            assert line["action"] == action
            assert line["session"]["source"] == source
            if expected == Reason.ACTION_NOT_SUPPORTED:
                assert "is of kind document, which only shows sessions" in line["detail"]
            assert line["operator"] == caller.name
            is_gateway = caller.metadata.get("authorization") == GATEWAY["authorization"]
            assert line["address"] == ("192.0.2.7" if is_gateway else "127.0.0.1")
            assert line["request_id"]


@pytest.mark.parametrize("method", METHODS)
def test_who_is_not_let_in_may_nothing(scene: Scene, method: str) -> None:
    before = size_of(scene.audit)
    wrong = Caller({"authorization": basic(password="tuna")}, "", False)
    with client(scene, wrong) as asking:
        assert reason(asking, method, scene.sessions["all"]) == Reason.CREDENTIALS_WRONG
    assert not lines(scene, before)


def reason(asking: Client, method: str, ident: int) -> str | None:
    """Return the reason why an act fails on a session with an identity that none has."""
    terminate = TerminateSessionRequest(id=ident, identity_revision=1)
    cancel = CancelStatementRequest(id=ident, identity_revision=1)
    calls: dict[str, Callable[[], object]] = {
        "TerminateSession": partial(asking.terminate_session, terminate),
        "CancelStatement": partial(asking.cancel_statement, cancel),
    }
    with pytest.raises(CallError) as caught:
        calls[method]()
    assert caught.value.reason, caught.value
    return caught.value.reason


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def lines(scene: Scene, start: int) -> list[dict[str, Any]]:
    """Return the audit log from a position on."""
    if not scene.audit.exists():
        return []
    with scene.audit.open() as log:
        log.seek(start)
        return [json.loads(line) for line in log]


def test_sources_say_what_is_allowed(scene: Scene) -> None:
    with client(scene, CALLERS["a certificate that is not"]) as asking:
        allowed = {each.name: list(each.actions) for each in asking.list_sources()}
    cancel, terminate = SessionAction.SESSION_ACTION_CANCEL, SessionAction.SESSION_ACTION_TERMINATE
    assert allowed == {
        "all": [cancel, terminate],
        "cancel": [cancel],
        "terminate": [terminate],
        "none": [],
        "document": [],
    }


@pytest.mark.long
def test_who_is_no_longer_named_may_no_longer_act(server: Postgres, tmp_path: Path) -> None:
    files, operators = CredentialFiles(tmp_path), tmp_path / "operators"
    operators.write_text(USER)
    source = {
        "url": f"postgresql://{SUPERUSER}@127.0.0.1:{free_port()}",
        "actions": ["terminate"],
    }
    settings = {**files.settings, "operators": str(operators), "max_actions": 10**6}
    metadata = {"authorization": basic()}
    with (
        running_core(source, ready=True, **settings) as address,
        Client(address, timeout=PATIENT, metadata=lambda: metadata.items()) as asking,
    ):
        assert reason(asking, "TerminateSession", 1) == Reason.SESSION_NOT_FOUND
        look = partial(reason, asking, "TerminateSession", 1)

        def is_operator() -> bool:
            return look() == Reason.SESSION_NOT_FOUND

        operators.write_text("# nobody\n")
        eventually(is_operator, lambda seen: not seen)
        operators.write_text(USER)
        eventually(is_operator)
        operators.unlink()
        eventually(is_operator, lambda seen: not seen)
        operators.write_text(USER)
        eventually(is_operator)


# Cores in which nobody may act, each for another reason.
WITHOUT: dict[str, tuple[list[str], dict[str, object]]] = {
    "no source allows it": ([], {"insecure_actions": True}),
    "nobody has the role": (["terminate"], {}),
}


@pytest.mark.parametrize("why", WITHOUT)
def test_a_core_in_which_nobody_may_act_has_no_such_service(why: str) -> None:
    actions, settings = WITHOUT[why]
    source = {"url": f"postgresql://a@127.0.0.1:{free_port()}", "name": "db", "actions": actions}
    with (
        running_core(source, ready=True, **settings) as address,
        grpc.insecure_channel(address) as channel,
        Client(address, timeout=PATIENT) as asking,
    ):
        for method in METHODS.values():
            call: Any = channel.unary_unary(f"/{SESSION_ACTION_SERVICE}/{method.name}")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", timeout=PATIENT)
            error = call_error(caught.value)
            assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, None)
        with pytest.raises(grpc.RpcError) as unknown:
            HealthStub(channel).Check(  # type: ignore[attr-defined] # its types lack it
                HealthCheckRequest(service=SESSION_ACTION_SERVICE), timeout=PATIENT
            )
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        (shown,) = asking.list_sources()
        assert list(shown.actions) == []


_IMPORTED = """
import asyncio, json, sys
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig

async def main():
    for settings in sys.argv[1:]:
        async with Core(CoreConfig.from_json(settings)):
            print(*sorted(sys.modules))

asyncio.run(main())
"""


@pytest.mark.long
def test_a_core_imports_of_actions_what_it_needs() -> None:
    sources: list[dict[str, object]] = [
        {"url": f"postgresql://a@127.0.0.1:{free_port()}", "name": "a"},
        {"url": f"mariadb://a@127.0.0.1:{free_port()}", "name": "b"},
        {"url": f"pgbouncer://a@127.0.0.1:{free_port()}", "name": "c"},
        {"url": f"maxscale+http://a@127.0.0.1:{free_port()}", "name": "d"},
        {"url": "haproxy:/nowhere", "name": "e"},
    ]
    acting = [{**source, "actions": ["terminate"]} for source in sources]
    acting[-1]["best_effort"] = True
    settings = {"grpc": "127.0.0.1:0"}
    shows = {**settings, "source": sources, "insecure_actions": False}
    acts = {**settings, "source": acting, "insecure_actions": True}
    # One core after the other in one process: what the first has imported is there for the second.
    command = [sys.executable, "-c", _IMPORTED, json.dumps(shows), json.dumps(acts)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    without, with_acts = (
        {
            name
            for name in line.split()
            if "core.actions" in name or "sources.acts" in name or "action_service" in name
        }
        for line in done.stdout.splitlines()
    )
    assert not without
    assert with_acts
    # What is needed for a kind is imported when it is needed.
    assert not any("sources.acts." in name for name in with_acts)
