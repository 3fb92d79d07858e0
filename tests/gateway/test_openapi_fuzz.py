"""The API as its description has it: each operation, and what its answers lead to, tried at length.

Every check of schemathesis is on. What no schema can say is left out here, by name.
"""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from gateway.openapi.description import describe
from gateway.operations import OPERATIONS
from tests.gateway.programs import LONG, Gateway

CONFIG = SchemathesisConfig.from_dict(
    {
        "request-timeout": LONG,
        "checks": {
            # What a condition says no to is asked for rightly.
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "304", "404", "412"],
            },
            # What is wrong may be too long, too.
            "negative_data_rejection": {
                "expected-statuses": ["400", "404", "405", "406", "414", "431"],
            },
        },
    }
)
TRIED = settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[*HealthCheck],
    derandomize=True,
)


schema: Any = schemathesis.openapi.from_dict(
    describe(OPERATIONS, "http://localhost:8989"), config=CONFIG
)


@schema.hook  # type: ignore[untyped-decorator] # without types
def filter_case(context: Any, case: Any) -> bool:
    """Whether to try a case: pages by cursor go in the order of ids only."""
    query = case.query or {}
    names = {*query, *(f"page[{name}]" for name in query.get("page") or ())}
    return "sort" not in names or names.isdisjoint({"page[after]", "page[before]"})


@schema.parametrize()  # type: ignore[untyped-decorator] # without types
@TRIED
def test_each_operation(case: Any, fleet_gateway: Gateway) -> None:
    case.call_and_validate(base_url=fleet_gateway.url)


def test_what_answers_lead_to(fleet_gateway: Gateway) -> None:
    machine = schema.as_state_machine()

    class Walk(machine):  # type: ignore[misc, valid-type] # made of the description
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": fleet_gateway.url}

    Walk.run(settings=settings(TRIED, max_examples=6, stateful_step_count=6))
