"""The API as its description has it: each operation, and what its answers lead to, tried at length.

At far more length, and in ways that no description has, in tests/faults/test_fuzz.py.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

from tests.gateway.described import described
from tests.gateway.programs import Gateway

TRIED = settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[*HealthCheck],
    derandomize=True,
)


schema = described()


@schema.parametrize()  # type: ignore[untyped-decorator] # without types
@TRIED
def test_each_operation(case: Any, fleet_gateway: Gateway) -> None:
    case.call_and_validate(base_url=fleet_gateway.url)


def test_what_answers_lead_to(fleet_gateway: Gateway) -> None:
    # Where answers lead is asked here; what is to be refused, above.
    machine = described(strict=False).as_state_machine()

    class Walk(machine):  # type: ignore[misc, valid-type] # made of the description
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": fleet_gateway.url}

    Walk.run(settings=settings(TRIED, max_examples=6, stateful_step_count=6))
