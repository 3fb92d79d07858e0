"""The API as described: each operation, and whatever its answers link to, fuzzed.

tests/faults/test_fuzz.py runs for far longer, and in ways that no description has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from requests import Session

from tests.gateway.described import described
from tests.gateway.programs import Gateway

TRIED = settings(
    max_examples=4,
    suppress_health_check=[*HealthCheck],
    derandomize=True,
)


schema = described()


@pytest.fixture(scope="module")
def http() -> Iterator[Session]:
    """Keep a connection from one call to the next."""
    with Session() as session:
        yield session


@schema.parametrize()  # type: ignore[untyped-decorator] # without types
@TRIED
def test_each_operation(case: Any, fleet_gateway: Gateway, http: Session) -> None:
    case.call_and_validate(base_url=fleet_gateway.url, session=http)


def test_what_answers_lead_to(fleet_gateway: Gateway) -> None:
    # Follows what answers link to; the test above covers what must be refused.
    machine = described(strict=False).as_state_machine()

    class Walk(machine):  # type: ignore[misc, valid-type] # made of the description
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": fleet_gateway.url}

    Walk.run(settings=settings(TRIED, max_examples=6, stateful_step_count=6))
