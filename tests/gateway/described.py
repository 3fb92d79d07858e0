"""The API as its description has it, for schemathesis to ask."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig

from gateway.openapi.description import describe
from gateway.operations import OPERATIONS
from tests.gateway.programs import LONG


def described(*, strict: bool = True, **settings: Any) -> Any:
    """The description, with every check on. What no schema can say is left out here, by name.

    ``strict`` is whether what the patterns do not allow must be refused: they are narrower
    than the grammar, which those find who try for long. ``settings`` are schemathesis's own.
    """
    config = SchemathesisConfig.from_dict(
        {
            "request-timeout": LONG,
            "checks": {
                # What a condition says no to is asked for rightly.
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", "304", "404", "412"],
                },
                # What is wrong may be too long, too.
                "negative_data_rejection": {
                    "enabled": strict,
                    "expected-statuses": ["400", "404", "405", "406", "414", "431"],
                },
            },
            **settings,
        }
    )
    schema: Any = schemathesis.openapi.from_dict(
        describe(OPERATIONS, "http://localhost:8989"), config=config
    )
    schema.hook(filter_case)
    return schema


def filter_case(context: Any, case: Any) -> bool:
    """Whether to try a case: pages by cursor go in the order of ids only."""
    query = case.query or {}
    names = {*query, *(f"page[{name}]" for name in query.get("page") or ())}
    return "sort" not in names or names.isdisjoint({"page[after]", "page[before]"})
