"""The API as described: each operation, and whatever its answers link to, fuzzed.

tests/faults/test_fuzz.py runs for far longer, and in ways that no description has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from requests import Session

from tests.gateway.described import LABELS, described, exercise
from tests.gateway.programs import VIEWS, Gateway

TRIED = settings(
    max_examples=4,
    suppress_health_check=[*HealthCheck],
    derandomize=True,
)


def asks_it(label: str) -> bool:
    """Return whether an operation asks the view, and no other operation asks it the same."""
    method, path = label.split()
    return method == "GET" and path.startswith(("/v1/s", "/readyz"))


@pytest.fixture(scope="module")
def http() -> Iterator[Session]:
    """Keep a connection from one call to the next."""
    with Session() as session:
        yield session


@pytest.fixture(scope="module")
def schema(view: str) -> Any:
    """Load the description once a view: what was tried once is not tried again."""
    return described()


@pytest.mark.parametrize(
    ("view", "operation"),
    [(view, label) for view in VIEWS for label in LABELS if view == "replica" or asks_it(label)],
    indirect=["view"],
)
def test_each_operation(operation: str, schema: Any, fleet_gateway: Gateway, http: Session) -> None:
    def check(case: Any) -> None:
        case.call_and_validate(base_url=fleet_gateway.url, session=http)

    exercise(schema, operation, check, TRIED)


def test_what_answers_lead_to(fleet_gateway: Gateway) -> None:
    # Follows what answers link to; the test above covers what must be refused.
    machine = described(strict=False).as_state_machine()

    class Walk(machine):  # type: ignore[misc, valid-type] # made of the description
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": fleet_gateway.url}

    Walk.run(settings=settings(TRIED, max_examples=6, stateful_step_count=6))
