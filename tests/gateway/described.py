"""The API as its description has it, for schemathesis to ask."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig

from sessiongate.gateway.api.host_names import RDNS
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.jsonapi.paging import AFTER, BEFORE, NUMBER, SIZE
from sessiongate.gateway.openapi.description import describe
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
    # A copy: schemathesis adds what it infers, and the parts are everybody's.
    description = deepcopy(describe(OPERATIONS, "http://localhost:8989"))
    schema: Any = schemathesis.openapi.from_dict(description, config=config)
    schema.hook(filter_case)
    schema.hook(before_add_examples)
    return schema


def filter_case(context: Any, case: Any) -> bool:
    """Whether to try a case: what one parameter's schema cannot say of several."""
    names = {*(case.query or {})}
    if RDNS in names:
        return False  # DNS is outside: tests/gateway/test_host_names.py asks for names
    cursors = names & {AFTER, BEFORE}
    if NUMBER in names and (SIZE not in names or cursors):
        return False
    return len(cursors) < 2 and not (cursors and "sort" in names)


def before_add_examples(context: Any, examples: list[Any]) -> None:
    """Leave cursors and names out of what has an example of every parameter at once."""
    for case in examples:
        for name in (AFTER, BEFORE, RDNS):
            case.query.pop(name, None)
