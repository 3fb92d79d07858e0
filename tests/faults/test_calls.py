"""The dearest calls that are allowed, and some that are not: others are answered beside them."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import TypeAlias

import grpc
import httpx
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from core.errors import STATUS_TRAILER
from core.query import MAX_FILTER_VALUES, MAX_MASK_PATHS
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    ListSessionsRequest,
    SessionFilter,
    WatchSessionsRequest,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.faults.processes import grown, usage
from tests.faults.scale import figure, times
from tests.program import PATIENCE, Serving, channel

SESSIONS = times(3000, 100_000)
SECONDS = times(1, 5)  # of each kind of call
ATTACKERS = 8
BOUND = 256  # MiB that the calls may add to a process
LATEST = 3.0  # seconds that the callers of the dear calls wait for them
SMALL = 10.0  # seconds that the callers beside them wait

Ask: TypeAlias = Callable[[], str]
LIST = "/sessiongate.v1.SessionService/ListSessions"
_FIELDS = [field.name for field in Session.DESCRIPTOR.fields]
_numbers = itertools.count()


def lists() -> dict[str, Callable[[], ListSessionsRequest]]:
    """Calls of the core, each anew, so that nothing is remembered of it."""

    def filtered(**fields: object) -> ListSessionsRequest:
        return ListSessionsRequest(filter=SessionFilter(**fields), page_size=10_000)  # type: ignore[arg-type] # of any kind

    def networks() -> list[str]:
        first = next(_numbers) % 250
        return [f"10.{first}.{n // 250}.{n % 250}" for n in range(MAX_FILTER_VALUES)]

    return {
        "a mask of all paths": lambda: ListSessionsRequest(
            page_size=10_000, read_mask=FieldMask(paths=(_FIELDS * 5)[:MAX_MASK_PATHS])
        ),
        "a mask of 20,000 paths": lambda: ListSessionsRequest(
            read_mask=FieldMask(paths=["id"] * 20_000)
        ),
        "1,000 paths that are none": lambda: ListSessionsRequest(
            read_mask=FieldMask(paths=[f"x{n}" for n in range(1000)])
        ),
        "1,000 networks": lambda: filtered(remotes=networks()),
        "300 networks that are none": lambda: filtered(remotes=[f"x{n}" for n in range(300)]),
        "1,000 users": lambda: filtered(
            users=[f"{next(_numbers)}" for _ in range(MAX_FILTER_VALUES)]
        ),
        "an order of 1 MB": lambda: ListSessionsRequest(order_by="x" * 1_000_000),
        "pages of 10,000": lambda: ListSessionsRequest(
            page_size=10_000, order_by="connect_time desc", skip=next(_numbers) % SESSIONS
        ),
    }


MEMBERS = ("user", "remote", "database", "state", "connected", "application")


def queries() -> dict[str, Callable[[], Mapping[str, str]]]:
    """Queries over REST, likewise."""
    alternatives = ",".join(str(n) for n in range(700))
    return {
        "a filter of 700 numbers": lambda: {
            "page[size]": "1",
            "filter": f"/attributes/port=or({next(_numbers)},{alternatives})",
        },
        "30 filters": lambda: {
            "page[size]": "1",
            **{
                f"filter[$.attributes['{one}','{other}']]": str(next(_numbers))
                for one, other in permutations(MEMBERS, 2)
            },
        },
        "a JSONPath that goes everywhere": lambda: {
            "page[size]": "1",
            "filter[$..[?@.port==1 || @.server=='x' || @.id=='y']]": str(next(_numbers)),
        },
        "an order": lambda: {
            "sort": "-user,remote,database,-port",
            "page[size]": "5000",
            "page[number]": str(next(_numbers) % 9 + 1),
        },
        "an indented page": lambda: {
            "pretty": "true",
            "page[size]": "10000",
            "page[after]": str(next(_numbers) % 1000 + 1),
        },
    }


class Beside:
    """Callers ten times a second; each waits for the truth."""

    def __init__(self, asks: Mapping[str, Callable[[], bool]]) -> None:
        self._stop = threading.Event()
        self.took: dict[str, list[float]] = {name: [] for name in asks}
        self.wrong: list[str] = []
        self._threads = [
            threading.Thread(target=self._ask, args=pair, daemon=True) for pair in asks.items()
        ]

    def __enter__(self) -> Beside:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _ask(self, name: str, ask: Callable[[], bool]) -> None:
        while not self._stop.wait(0.1):
            began = time.monotonic()
            try:
                if not ask():
                    self.wrong.append(f"{name}: untrue")
            except Exception as error:
                self.wrong.append(f"{name}: {error!r}")
            self.took[name].append(time.monotonic() - began)


def outcome(error: grpc.RpcError) -> str:
    """How a call failed: only by its deadline, or with a reason."""
    assert isinstance(error, grpc.Call)
    code = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return code.name
    info = ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_TRAILER:
            Status.FromString(value).details[0].Unpack(info)
    assert info.reason in ("INVALID_REQUEST", "TOO_MANY_CALLS"), (code, error.details())
    return info.reason


def attack(ask: Ask) -> Counter[str]:
    """Ask all the time, by several at once; how it went."""
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + SECONDS

    def go() -> None:
        while time.monotonic() < end:
            outcomes[ask()] += 1

    with ThreadPoolExecutor(ATTACKERS) as pool:
        for done in [pool.submit(go) for _ in range(ATTACKERS)]:
            done.result()
    return outcomes


@pytest.mark.parametrize("replica", ["on", "off"])
def test_dear_calls_keep_no_other_waiting(replica: str) -> None:
    with (
        Serving(
            *("--source", f"synthetic:?sessions={SESSIONS}", "--ledger", "sqlite://"),
            *("--workers", "1", "--replica", replica, "--request-timeout", str(LATEST)),
        ) as serving,
        channel(serving.grpc) as dear,
        channel(serving.grpc) as small,
    ):
        stub, other = SessionServiceStub(dear), SessionServiceStub(small)
        # What is answered to the dear calls is not read: that would take this process's time.
        listing: Callable[..., bytes] = dear.unary_unary(
            LIST, request_serializer=ListSessionsRequest.SerializeToString
        )
        beside_http = httpx.Client(
            base_url=f"http://{serving.http}", timeout=SMALL, trust_env=False
        )
        limits = httpx.Limits(max_connections=2 * ATTACKERS)
        http = httpx.Client(
            base_url=f"http://{serving.http}", timeout=PATIENCE, trust_env=False, limits=limits
        )

        def call(make: Callable[[], ListSessionsRequest]) -> Ask:
            def ask() -> str:
                request = make()
                try:
                    listing(request, timeout=LATEST)
                    if request.HasField("filter"):
                        watching = WatchSessionsRequest(filter=request.filter)
                        next(stub.WatchSessions(watching, timeout=LATEST))
                except grpc.RpcError as error:
                    return outcome(error)
                return "OK"

            return ask

        def query(make: Callable[[], Mapping[str, str]]) -> Ask:
            def ask() -> str:
                answer = http.get("/v1/sessions", params=dict(make()))
                if answer.status_code == 200:
                    return "200"
                (error,) = answer.json()["errors"]
                assert error["code"] in ("REQUEST_TIMEOUT", "DEADLINE_EXCEEDED"), error
                return str(error["code"])

            return ask

        asks: dict[str, Callable[[], bool]] = {
            "gRPC": lambda: (
                other.GetSession(GetSessionRequest(id=1), timeout=SMALL).session.id == 1
            ),
            "one session": lambda: shown(beside_http, "/v1/sessions/1", ["data", "id"], "1"),
            "health": lambda: shown(beside_http, "/healthz", [], None),
        }
        kinds = {name: call(make) for name, make in lists().items()}
        kinds |= {name: query(make) for name, make in queries().items()}
        for name, small_call in asks.items():
            assert small_call(), name
        before = usage(serving)
        answers: Counter[str] = Counter()
        waited: Counter[str] = Counter()  # ms, of each caller's p99 beside the worst kind
        for name, ask in kinds.items():
            with Beside(asks) as beside:
                outcomes = attack(ask)
            assert not beside.wrong, (name, beside.wrong[:3])
            answers += outcomes
            for asked, took in beside.took.items():
                p99 = round(1000 * sorted(took)[len(took) * 99 // 100])
                waited[asked] = max(waited[asked], p99)
        figure(f"dear calls, replica {replica}: answers", answers)
        figure(f"dear calls, replica {replica}: ms that others waited, p99, at worst", waited)
        growth = grown(before, usage(serving))
        figure(f"dear calls, replica {replica}: growth, MiB", growth)
        assert max(growth.values()) < BOUND, growth
        http.close()
        beside_http.close()
        assert "Traceback" not in serving.output


def shown(http: httpx.Client, path: str, place: Sequence[str], value: str | None) -> bool:
    """Whether a document is there, and holds this."""
    found = http.get(path).raise_for_status().json()
    for name in place:
        found = found[name]
    return value is None or found == value
