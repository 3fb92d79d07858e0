"""The API as described: each operation, and whatever its answers link to, fuzzed.

tests/faults/test_fuzz.py runs for far longer, and in ways that no description has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from requests import Session

from tests.gateway.described import LABELS, described, exercise
from tests.gateway.programs import Gateway, one_view

TRIED = settings(
    max_examples=2,
    suppress_health_check=[*HealthCheck],
    derandomize=True,
)


def asks_it(label: str) -> bool:
    """Return whether an operation asks the view, and no other operation asks it the same."""
    method, path = label.split()
    return method == "GET" and path.startswith(("/v1/s", "/readyz"))


def validating(gateway: Gateway, http: Session) -> Callable[[Any], None]:
    """Return what sends a case to a gateway, and checks the answer against the description."""

    def check(case: Any) -> None:
        case.call_and_validate(base_url=gateway.url, session=http)

    return check


@pytest.fixture(scope="module")
def http() -> Iterator[Session]:
    """Keep a connection from one call to the next."""
    with Session() as session:
        session.trust_env = False  # it would look for proxies before each call
        yield session


@pytest.fixture(scope="module")
def schema(view: str) -> Any:
    """Load the description once a view: what was tried once is not tried again."""
    return described()


@one_view
@pytest.mark.parametrize("operation", LABELS)
def test_each_operation(operation: str, schema: Any, fleet_gateway: Gateway, http: Session) -> None:
    exercise(schema, operation, validating(fleet_gateway, http), TRIED)


# The view and the operation in one list would start a gateway for each pair.
@pytest.mark.parametrize("view", ["direct"], indirect=True)
@pytest.mark.parametrize("operation", [*filter(asks_it, LABELS)])
def test_each_that_asks_the_view(
    operation: str, schema: Any, fleet_gateway: Gateway, http: Session
) -> None:
    exercise(schema, operation, validating(fleet_gateway, http), TRIED)


@one_view
def test_what_answers_lead_to(fleet_gateway: Gateway) -> None:
    # Follows what answers link to; the test above covers what must be refused.
    machine = described(strict=False).as_state_machine()

    class Walk(machine):  # type: ignore[misc, valid-type] # made of the description
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": fleet_gateway.url}

    Walk.run(settings=settings(TRIED, max_examples=4, stateful_step_count=6))
