"""The most expensive calls that are allowed, and some that are not, by several callers at once.

They are made in a process that does nothing else: `attack` is to be called there.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import permutations
from typing import TypeAlias

import grpc
import httpx
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from sessiongate.core.table.query import MAX_FILTER_VALUES, MAX_MASK_PATHS
from sessiongate.v1.errors import STATUS_TRAILER
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    ListSessionsRequest,
    SessionFilter,
    WatchSessionsRequest,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.faults.scale import times
from tests.program import PATIENCE, channel

SESSIONS = times(300, 100_000)
SECONDS = times(0.1, 5.0)  # for each kind of call
ATTACKERS = times(4, 8)
LATEST = 3.0  # seconds that they wait

Ask: TypeAlias = Callable[[], str]
LIST = "/sessiongate.v1.SessionService/ListSessions"
_FIELDS = [field.name for field in Session.DESCRIPTOR.fields]
_numbers = itertools.count()


def lists() -> dict[str, Callable[[], ListSessionsRequest]]:
    """Return calls of the core, new each time, so that nothing remembered answers them."""

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
    """Return queries over REST, likewise."""
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


def attack(name: str, rest: str, core: str) -> Counter[str]:
    """Make calls of one kind all the time, by several callers at once; return their outcomes."""
    outcomes: Counter[str] = Counter()
    with channel(core) as opened:
        makes, http = lists(), _client(rest)
        ask = _calling(opened, makes[name]) if name in makes else _asking(http, queries()[name])
        end = time.monotonic() + SECONDS

        def go() -> None:
            while time.monotonic() < end:
                outcomes[ask()] += 1

        with ThreadPoolExecutor(ATTACKERS) as pool:
            for done in [pool.submit(go) for _ in range(ATTACKERS)]:
                done.result()
    return outcomes


@cache  # its making reads the certificates of all authorities
def _client(rest: str) -> httpx.Client:
    limits = httpx.Limits(max_connections=2 * ATTACKERS)
    return httpx.Client(base_url=f"http://{rest}", timeout=PATIENCE, trust_env=False, limits=limits)


def _calling(opened: grpc.Channel, make: Callable[[], ListSessionsRequest]) -> Ask:
    stub = SessionServiceStub(opened)
    # Answers are not parsed: that would take this process's time.
    listing: Callable[..., bytes] = opened.unary_unary(
        LIST, request_serializer=ListSessionsRequest.SerializeToString
    )

    def ask() -> str:
        request = make()
        began = time.monotonic()
        try:
            listing(request, timeout=LATEST)
            if request.HasField("filter"):
                watching = WatchSessionsRequest(filter=request.filter)
                next(stub.WatchSessions(watching, timeout=LATEST))
        except grpc.RpcError as error:
            return _outcome(error, time.monotonic() - began)
        return "OK"

    return ask


def _asking(http: httpx.Client, make: Callable[[], Mapping[str, str]]) -> Ask:
    def ask() -> str:
        began = time.monotonic()
        try:
            answer = http.get("/v1/sessions", params=dict(make()))
        except httpx.RemoteProtocolError:
            # An answer that has begun is cut off once it is late: this process reads slowly.
            assert time.monotonic() - began > LATEST * 0.9
            return "REQUEST_TIMEOUT"
        if answer.status_code == 200:
            return "200"
        (error,) = answer.json()["errors"]
        assert error["code"] in ("REQUEST_TIMEOUT", "DEADLINE_EXCEEDED"), error
        return str(error["code"])

    return ask


def _outcome(error: grpc.RpcError, waited: float) -> str:
    """Return how a call failed: only by its deadline, or with a reason."""
    assert isinstance(error, grpc.Call)
    code = error.code()
    # If the core's end of a call sees the deadline first, gRPC reports CANCELLED here.
    is_late = code is grpc.StatusCode.CANCELLED and waited > LATEST * 0.9
    if is_late or code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return grpc.StatusCode.DEADLINE_EXCEEDED.name
    info = ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_TRAILER:
            Status.FromString(value).details[0].Unpack(info)
    assert info.reason in ("INVALID_REQUEST", "TOO_MANY_CALLS"), (code, error.details())
    return info.reason
