"""The API as described: each operation, and whatever its answers link to, fuzzed.

tests/faults/test_fuzz.py runs for far longer, and in ways that no description has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from requests import Session

from tests.gateway.described import LABELS, check_reply, described, exercise
from tests.gateway.programs import Gateway, one_view, viewing_gateway

# What the description names: its examples, and the bounds of each parameter. Long runs draw more.
TRIED = settings(suppress_health_check=[*HealthCheck], phases=[Phase.explicit])


# What is refused like that is refused before the view is asked.
BEFORE = (400, 405, 406, 414, 415, 431)


def asks_it(label: str) -> bool:
    """Return whether an operation asks the view, and no other operation asks it the same."""
    method, path = label.split()
    return method == "GET" and path.startswith(("/v1/s", "/readyz"))


@pytest.fixture(scope="module")
def other(fleet_core: str) -> Iterator[Gateway]:
    """Run a gateway with the other view."""
    with viewing_gateway(fleet_core, "direct") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def http() -> Iterator[Session]:
    """Keep a connection from one call to the next."""
    with Session() as session:
        session.trust_env = False  # it would look for proxies before each call
        yield session


@pytest.fixture(scope="module")
def schema() -> Any:
    """Load the description once."""
    return described()


@one_view
@pytest.mark.parametrize("operation", LABELS)
def test_each_operation(
    operation: str, schema: Any, fleet_gateway: Gateway, other: Gateway, http: Session
) -> None:
    def check(case: Any) -> None:
        answer = case.call_and_validate(base_url=fleet_gateway.url, session=http)
        check_reply(case, answer)
        if asks_it(operation) and answer.status_code not in BEFORE:
            case.call_and_validate(base_url=other.url, session=http)

    exercise(schema, operation, check, TRIED)


@one_view
def test_what_answers_lead_to(fleet_gateway: Gateway) -> None:
    # Follows what answers link to; the test above covers what must be refused.
    machine = described(strict=False).include(method="GET").as_state_machine()

    class Walk(machine):  # type: ignore[misc, valid-type] # made of the description
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": fleet_gateway.url}

    drawn = settings(TRIED, phases=[Phase.generate], max_examples=2, stateful_step_count=6)
    Walk.run(settings=settings(drawn, derandomize=True))
