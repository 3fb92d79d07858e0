"""Tens of thousands of generated requests: no undocumented answer, and no lasting effect.

Each full run draws others: FAULTS_SEED draws the same again.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from requests import Session

from tests.credentials import CredentialFiles
from tests.faults.authorizations import authorizations
from tests.faults.calls import any_call, make
from tests.faults.exchange import Exchange
from tests.faults.mangling import mangled
from tests.faults.processes import processes
from tests.faults.requests import Request, requests
from tests.faults.scale import FULL, SEED, figure, times
from tests.gateway.described import LABELS, check_reply, described, exercise
from tests.gateway.fleet import write_fleet
from tests.program import PATIENCE, Forked, Serving

Tallies: TypeAlias = defaultdict[str, Counter[str]]

VIEWS = {"replica": "on", "direct": "off"}  # what the gateway answers from
CALLS_AT_ONCE = 50
PEERS_AT_ONCE = 16
MOMENT = 0.05  # seconds; a server that has sent nothing by then waits for more

DRAWN = settings(
    database=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
READY = Request("GET", b"/readyz", (("Host", b"localhost"),))
TROUBLE = ("Traceback", "Exception ignored", '"level": "error"', '"level": "critical"')


@contextmanager
def unharmed(*arguments: object) -> Iterator[Serving]:
    """Run a program that must be the same afterwards, and must have had no trouble."""
    print(f"FAULTS_SEED={SEED}")  # shown on failure
    arguments += ("--access-log", "--trusted-proxies", "127.0.0.0/8")
    with Forked(*arguments) as running:
        with Exchange(running.http) as exchange:
            deadline = time.monotonic() + PATIENCE
            while exchange.ask(READY).status != 200:
                assert time.monotonic() < deadline
        before = processes(running)
        yield running
        assert processes(running) == before
    lines = running.output.splitlines()
    assert [line for line in lines if any(word in line for word in TROUBLE)] == []


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make a source whose sessions have every field."""
    return f"document:{write_fleet(tmp_path_factory.mktemp('fleet') / 'fleet.json')}"


@pytest.fixture(scope="module", params=[*VIEWS][: times(1, 2)])
def serving(request: pytest.FixtureRequest, source: str) -> Iterator[Serving]:
    shown = ("--metrics", "127.0.0.1:0", "--core-metrics", "127.0.0.1:0")
    with unharmed("--source", source, "--replica", VIEWS[request.param], *shown) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(source: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Run a program that admits nobody without credentials."""
    flags = CredentialFiles(tmp_path_factory.mktemp("credentials")).flags
    with unharmed("--source", source, *flags) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def tallies() -> Iterator[Tallies]:
    """Count how many requests of each kind were answered in which way."""
    found: Tallies = defaultdict(Counter)
    yield found
    figure("fuzz: FAULTS_SEED", str(SEED))
    figure("fuzz: requests", {kind: answers.total() for kind, answers in found.items()})
    for kind, answers in found.items():
        figure(f"fuzz, {kind}: answers", dict(answers))


@pytest.fixture(scope="module")
def http() -> Iterator[Session]:
    with Session() as session:
        session.trust_env = False  # it would look for proxies before each call
        yield session


@pytest.fixture(scope="module")
def schema() -> Any:
    return described(strict=False, seed=SEED)


@pytest.mark.parametrize("serving", ["replica"], indirect=True)
@pytest.mark.parametrize("operation", LABELS if FULL else LABELS[:1])
@pytest.mark.skipif(not FULL, reason="tests/gateway/test_openapi_fuzz.py suffices in short runs")
def test_requests_by_the_description(
    operation: str, serving: Serving, schema: Any, http: Session, tallies: Tallies
) -> None:
    def check(case: Any) -> None:
        answer = case.call(base_url=f"http://{serving.http}", session=http)
        tallies["by the description"][str(answer.status_code)] += 1
        case.validate_response(answer)
        check_reply(case, answer)

    exercise(schema, operation, check, settings(DRAWN, max_examples=520))


def test_requests_in_the_grammar_of_the_api(
    request: pytest.FixtureRequest, serving: Serving, tallies: Tallies
) -> None:
    answers = ask_all(serving, requests(), times(100, 10_000), request.node.name)
    tallies["in the grammar"] += answers


def test_credentials_that_let_nobody_in(guarded: Serving, tallies: Tallies) -> None:
    def asking(authorization: str, address: int) -> Request:
        # Each from its own address: the throttle is tested elsewhere.
        told = (("Host", b"localhost"), ("X-Forwarded-For", str(IPv4Address(address)).encode()))
        value = authorization.encode("utf-8", "surrogatepass")
        return Request("GET", b"/v1/sessions", (*told, ("Authorization", value)))

    asked = st.builds(asking, authorizations, st.integers(2**24, 2**32 - 1))
    answers = ask_all(guarded, asked, times(100, 2000), "credentials")
    assert answers.keys() <= {"400", "401", "429", "431"}
    tallies["wrong credentials"] += answers


def ask_all(
    serving: Serving, asked: SearchStrategy[Request], count: int, name: str
) -> Counter[str]:
    """Ask, and check each answer; return how many had each status.

    Each ``name`` draws other requests.
    """
    answers: Counter[str] = Counter()
    with Exchange(serving.http) as exchange:

        @seed(f"{SEED} {name}")
        @settings(DRAWN, max_examples=count)
        @given(asked)
        def ask(request: Request) -> None:
            reply = exchange.ask(request)
            answers[str(reply.status)] += 1
            reply.check()

        ask()
    return answers


@pytest.mark.parametrize("which", ["http", "grpc", "metrics"])
@pytest.mark.parametrize("serving", ["replica"], indirect=True)
def test_mangled_bytes(serving: Serving, which: str, tallies: Tallies) -> None:
    rng = random.Random(f"{SEED} {which}")
    addresses = {"http": serving.http, "grpc": serving.grpc, "metrics": metrics_of(serving)}
    said = [mangled(rng) for _ in range(times(300, 10_000))]
    answers = asyncio.run(say_all(addresses[which], said))
    said_wrong = ("501", "505")  # an unknown method or version
    assert not [code for code in answers if code.startswith("5") and code not in said_wrong]
    tallies[f"bytes over {which}"] += answers


def metrics_of(serving: Serving) -> str:
    """Return where the gateway shows its metrics."""
    found = re.search(r'"gateway".*metrics at http://([0-9.:]+)/', serving.output)
    assert found
    return found[1]


async def say_all(address: str, said: Sequence[bytes]) -> Counter[str]:
    """Send each on its own connection; count the first answers by status, in HTTP/1 or not."""
    host, _, port = address.rpartition(":")
    answers: Counter[str] = Counter()
    room = asyncio.Semaphore(PEERS_AT_ONCE)

    async def say(data: bytes) -> None:
        async with room:
            reader, writer = await asyncio.open_connection(host, int(port))
            received = b""
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(MOMENT):
                    writer.write(data)
                    while part := await reader.read(65536):
                        received += part
            writer.close()
            status = STATUS.match(received)
            other = "another protocol" if received else "none"
            answers[status[1].decode() if status else other] += 1

    await asyncio.gather(*map(say, said))
    return answers


@pytest.mark.parametrize("serving", ["replica"], indirect=True)
def test_calls_of_the_core(serving: Serving, tallies: Tallies) -> None:
    tallies["calls"] += call_all(serving, times(100, 6000))


def test_calls_of_a_core_that_lets_nobody_in(guarded: Serving, tallies: Tallies) -> None:
    tallies["calls without credentials"] += call_all(guarded, times(50, 2000))


def call_all(serving: Serving, count: int) -> Counter[str]:
    """Make calls; count how each ended. None may end with an error that the core did not expect."""
    rng = random.Random(SEED)
    ended: Counter[str] = Counter()
    for _ in range(0, count, CALLS_AT_ONCE):
        calls = [any_call(rng) for _ in range(CALLS_AT_ONCE)]
        make(serving.grpc, calls)
        for call in calls:
            # INTERNAL comes only from gRPC itself, when what it receives is not gRPC.
            assert call.ended != "UNKNOWN", call
            assert call.ended != "INTERNAL" or "the core failed" not in call.text, call
            ended[call.ended] += 1
    return ended
