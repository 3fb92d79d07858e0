"""The API as its description declares it, for schemathesis to call.

Import schemathesis only in what tests call: it takes longer than all else that is imported to
collect the tests, and each process collects all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import hypothesis

from sessiongate.gateway.api.host_names import RDNS
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.api.past_time import AT, FROM, INTERVAL
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.jsonapi.paging import AFTER, BEFORE, NUMBER, SIZE
from sessiongate.gateway.openapi.description import describe
from tests.faults.exchange import Reply
from tests.faults.scale import FULL
from tests.gateway.programs import LONG

_NOW_OR_LATER = re.compile(r"-0+[smhd]|20[2-9]")
_DESCRIPTION = describe(OPERATIONS, "http://localhost:8989")
STREAMS = [operation.path for operation in OPERATIONS if EVENT_STREAM in operation.offers]
# Each operation's method and path. HEAD is the operation GET, as test_http.py shows, and has as
# many cases: only long runs try it too.
LABELS = [
    f"{method.upper()} {path}"
    for path, item in _DESCRIPTION["paths"].items()
    for method in item
    if path not in STREAMS and (FULL or method != "head")
]


def described(
    *, strict: bool = True, description: dict[str, Any] = _DESCRIPTION, **settings: Any
) -> Any:
    """Load the description, every check on. Exclude here, by name, what no schema can express.

    ``strict`` is whether values that the patterns do not allow must be refused: the patterns are
    narrower than the grammar, as long runs show. ``settings`` are schemathesis's own.
    """
    import schemathesis
    from schemathesis.config import SchemathesisConfig

    config = SchemathesisConfig.from_dict(
        {
            "request-timeout": LONG,
            "checks": {
                # A request is valid even if its condition fails, or its session runs no statement.
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", "304", "404", "409", "412"],
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
    description = deepcopy(description)
    # A stream does not end by itself: tests/gateway/test_events.py reads them.
    for path in STREAMS:
        del description["paths"][path]
    # Drawing a hundred distinct names takes half a minute; test_bad_requests.py has one too many.
    methods = [method for path in description["paths"].values() for method in path.values()]
    own = [parameter for method in methods for parameter in method["parameters"]]
    for parameter in (*description["components"]["parameters"].values(), *own):
        if parameter.get("name", "").startswith("fields["):
            parameter["schema"].pop("maxItems", None)
    schema: Any = schemathesis.openapi.from_dict(description, config=config)
    schema.hook(filter_case)
    schema.hook(before_add_examples)
    return schema


def exercise(
    schema: Any, label: str, check: Callable[[Any], None], tried: hypothesis.settings
) -> None:
    """Call ``check`` with each case of one operation.

    This is what schemathesis's own decorator makes of a test. The decorator makes the cases of
    all operations while tests are collected, in each process that collects any.
    """
    from schemathesis.generation.feedback import FeedbackSources
    from schemathesis.pytest._test_builder import build_operation_test

    def test(case: Any) -> None:
        check(case)

    method, path = label.split()
    built = build_operation_test(
        config=schema.config,
        operation=schema[path][method],
        test_func=test,
        given_kwargs={},
        feedback=FeedbackSources(),
        explicit_settings=tried,
    )
    built()


def check_reply(case: Any, answer: Any) -> None:
    """Fail unless an answer is what this API documents of every answer."""
    # The client has decompressed the body.
    headers = {name: ", ".join(values) for name, values in answer.headers.items()}
    headers.pop("content-encoding", None)
    Reply(case.method, answer.status_code, headers, answer.content).check()


def filter_case(context: Any, case: Any) -> bool:
    """Return whether to try a case; schemas cannot express rules across parameters."""
    names = {*(case.query or {})}
    if RDNS in names:
        return False  # DNS is outside: tests/gateway/test_host_names.py asks for names
    times = names & {AT, *INTERVAL}
    if len(times) > 1:  # a moment excludes others, and an interval has to end after its start
        return False
    cursors = names & {AFTER, BEFORE}
    if cursors and case.path.startswith("/v1/history/"):
        return False  # those are of one list: tests/gateway/test_past_pages.py follows them
    if case.path == "/v1/history/counts":
        if FROM in names and _NOW_OR_LATER.match(str(case.query[FROM])):
            return False  # it has to be in the past
        if "filter" in names and any(name.startswith("filter[") for name in names):
            return False  # of the same member
    if NUMBER in names and (SIZE not in names or cursors):
        return False
    return len(cursors) < 2 and not (cursors and "sort" in names)


def before_add_examples(context: Any, examples: list[Any]) -> None:
    """Remove cursors and names from cases that have an example of every parameter at once."""
    for case in examples:
        for name in (AFTER, BEFORE, RDNS, AT):
            case.query.pop(name, None)
