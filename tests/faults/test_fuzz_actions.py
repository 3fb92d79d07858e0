"""Generated requests to a gateway that may act: they end nothing but what they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from requests import Session

from sessiongate.core.sources.base import Action
from sessiongate.gateway.api.action_operations import ACTIONS
from sessiongate.gateway.api.actions import MAX_TTL, TTL
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.http.normalize_path import routed
from sessiongate.gateway.openapi.description import describe
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.limits import CoreLimits
from sessiongate.v1.session_pb2 import ACTIVITY_STATE_ACTIVE
from tests.doing import Shown, showing, stated
from tests.faults.exchange import Exchange
from tests.faults.requests import Request, requests
from tests.faults.scale import SEED, times
from tests.gateway.described import described, exercise
from tests.gateway.programs import Gateway, running_gateway

OPEN = Protection(insecure_actions=True)
JSON_API = b"application/vnd.api+json"
SESSIONS = times(300, 3000)  # of which some end
GRACES = {str(seconds) for seconds in range(1, MAX_TTL + 1)}
DRAWN = settings(
    database=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.explicit, Phase.generate],
)
# What acts, as it is routed. All else is looked at, at most.
ACTS = {
    "DELETE": (re.compile(r"/sessions/0*([1-9][0-9]*)"), Action.TERMINATE),
    "POST": (re.compile(r"/sessions/0*([1-9][0-9]*)/cancel"), Action.CANCEL),
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Run a core whose sessions look alike, and end when they are told to."""
    sessions = [stated(str(n), ACTIVITY_STATE_ACTIVE, user="ann") for n in range(1, SESSIONS + 1)]
    audit = tmp_path_factory.mktemp("audit") / "audit.log"
    with showing(
        {"db": sessions},
        {"db": "cancel,terminate"},
        protection=OPEN,
        audit_log=str(audit),
        limits=CoreLimits(max_actions=1_000_000),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(shown: Shown) -> Iterator[Gateway]:
    with running_gateway(shown.address, protection=OPEN) as running:
        yield running


def named(method: str, target: bytes) -> tuple[Action, str] | None:
    """Return what a request asks to be done, and to which session, by its path."""
    if method not in ACTS:
        return None
    form, action = ACTS[method]
    found = form.fullmatch(routed(target.partition(b"?")[0].decode("latin-1")))
    return (action, found[1]) if found else None


def check_acts(shown: Shown, method: str, target: bytes, status: int) -> None:
    """Check that nothing was done but what a request names, and that only if it says so."""
    wanted = named(method, target)
    done, shown.acts[:] = [*shown.acts], []
    assert done == ([wanted] if status in (202, 204) and method in ACTS else []), (method, target)


@st.composite
def acting(draw: DrawFn) -> Request:
    """Draw a request that acts or nearly does so."""
    request: Request = draw(requests())
    ident = draw(st.integers(0, SESSIONS + 5))
    path = draw(
        st.sampled_from(
            [
                *[b"/v1/sessions/%d", b"/v1/sessions/%d/cancel"] * 4,
                *(b"/sessions/%d/", b"/v1/sessions/0%d", b"/v1/sessions/%d/cancel/"),
                *(b"/v1/sessions/%d/services", b"/v1/sessions/%d/restart", b"/v1//sessions/%d"),
                *(b"/v1/sessions/%d/cancel/1", b"/v1/history/sessions/%d", b"/v1/sessions/%%3%d"),
            ]
        )
    )
    query = draw(st.sampled_from([b"", b"", b"", b"?ttl=0", b"?ttl=-1", b"?pretty", b"?none=1"]))
    method = draw(st.sampled_from([*["DELETE", "POST"] * 4, "PUT", "PATCH", "GET", "delete"]))
    headers = request.headers if draw(st.booleans()) else (("Host", b"localhost"),)
    if method == "POST" and draw(st.integers(0, 4)):
        headers = (
            *(pair for pair in headers if pair[0] != "Content-Type"),
            ("Content-Type", JSON_API),
        )
    return replace(request, method=method, target=path % ident + query, headers=headers)


@pytest.mark.parametrize("strategy", [requests(), acting()], ids=["any", "acting"])
def test_nothing_ends_but_what_is_named(
    strategy: st.SearchStrategy[Request], shown: Shown, gateway: Gateway
) -> None:
    answered: set[int] = set()
    with Exchange(gateway.address) as exchange:

        @seed(f"{SEED} {strategy}")
        @settings(DRAWN, max_examples=times(75, 5000))
        @given(strategy)
        def ask(request: Request) -> None:
            reply = exchange.ask(request)
            reply.check()
            check_acts(shown, request.method, request.target, reply.status)
            answered.add(reply.status)

        ask()
    assert {400, 404, 405} <= answered


DESCRIPTION = describe((*OPERATIONS, *ACTIONS), "http://localhost:8989")


@pytest.fixture(scope="module")
def http() -> Iterator[Session]:
    with Session() as session:
        yield session


@pytest.mark.parametrize("operation", [f"{found.method} {found.path}" for found in ACTIONS])
def test_what_acts_is_as_described(
    operation: str, shown: Shown, gateway: Gateway, http: Session
) -> None:
    schema = described(strict=False, description=DESCRIPTION, seed=SEED)

    def check(case: Any) -> None:
        drawn = str(case.path_parameters["id"])
        if drawn.isdecimal():
            case.path_parameters["id"] = str(int(drawn) % SESSIONS + 1)
        if str(case.query.get(TTL, "")) in GRACES:
            case.query[TTL] = "0"  # else it would be done long after the answer
        if case.method == "POST":
            case.headers["Content-Type"] = JSON_API.decode()
        answer = case.call(base_url=gateway.url, session=http)
        case.validate_response(answer)
        target = answer.request.path_url.encode()
        check_acts(shown, case.method, target, answer.status_code)

    exercise(schema, operation, check, settings(DRAWN, max_examples=times(8, 500)))
