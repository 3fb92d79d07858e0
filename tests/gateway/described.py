"""The API as its description declares it, for schemathesis to call."""

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
    """Load the description, every check on. Exclude here, by name, what no schema can express.

    ``strict`` is whether values that the patterns do not allow must be refused: the patterns are
    narrower than the grammar, as long runs show. ``settings`` are schemathesis's own.
    """
    config = SchemathesisConfig.from_dict(
        {
            "request-timeout": LONG,
            "checks": {
                # A request is valid even if its condition fails.
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", "304", "404", "412"],
                },
                # An invalid value may also be too long.
                "negative_data_rejection": {
                    "enabled": strict,
                    "expected-statuses": ["400", "404", "405", "406", "414", "431"],
                },
            },
            **settings,
        }
    )
    # A copy: schemathesis adds what it infers, and the parts are shared.
    description = deepcopy(describe(OPERATIONS, "http://localhost:8989"))
    # Drawing a hundred distinct names takes half a minute; test_bad_requests.py has one too many.
    for parameter in description["components"]["parameters"].values():
        if parameter["name"].startswith("fields["):
            del parameter["schema"]["maxItems"]
    schema: Any = schemathesis.openapi.from_dict(description, config=config)
    schema.hook(filter_case)
    schema.hook(before_add_examples)
    return schema


def filter_case(context: Any, case: Any) -> bool:
    """Return whether to try a case; schemas cannot express rules across parameters."""
    names = {*(case.query or {})}
    if RDNS in names:
        return False  # DNS is outside: tests/gateway/test_host_names.py asks for names
    cursors = names & {AFTER, BEFORE}
    if NUMBER in names and (SIZE not in names or cursors):
        return False
    return len(cursors) < 2 and not (cursors and "sort" in names)


def before_add_examples(context: Any, examples: list[Any]) -> None:
    """Remove cursors and names from cases that have an example of every parameter at once."""
    for case in examples:
        for name in (AFTER, BEFORE, RDNS):
            case.query.pop(name, None)
