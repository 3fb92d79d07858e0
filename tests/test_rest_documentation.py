"""The program does what docs/rest.md says of the REST API."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest

from sessiongate.core.grpc.status import STATUS_MAPPINGS
from sessiongate.core.sources.base import Action
from sessiongate.gateway.api.action_operations import ACTIONS
from sessiongate.gateway.api.documents import INCLUDES
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.api.path import by_path
from sessiongate.gateway.errors import HTTP_MAPPINGS
from sessiongate.gateway.jsonapi.errors import RequestError
from sessiongate.gateway.jsonapi.query import AllowedParameters, QueryLimits, QueryParameters
from sessiongate.gateway.openapi.actions import action_responses
from sessiongate.gateway.openapi.errors import CODES, NOT_FOUND
from sessiongate.runtime.auth import identity
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.turns import finished
from sessiongate.v1.errors import Reason
from sessiongate.v1.session_pb2 import ACTIVITY_STATE_ACTIVE
from tests.doing import showing, stated
from tests.gateway.declared import operation_at
from tests.gateway.programs import running_gateway
from tests.program import DOCUMENT, PATIENCE, Forked, Serving, environment
from tests.snippets import examples, texts

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "rest.md").read_text(encoding="utf-8")

EVERYTHING = (*OPERATIONS, *ACTIONS)
# Errors of the core for callers that watch, or whose messages are not of our gRPC contract.
NOT_SHOWN = {"REVISION_NOT_HELD", "MALFORMED_REQUEST"}


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with Forked("--source", DOCUMENT) as it:
        yield it


def test_each_command_prints_what_stands_below_it(served: Serving, tmp_path: Path) -> None:
    port = served.http.rpartition(":")[2]
    shown = examples("docs/rest.md")
    assert len(shown) >= 12
    for command, output in shown:
        done = subprocess.run(
            shlex.split(command.replace(":8989", f":{port}")),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        printed = done.stdout.replace(f":{port}/", ":8989/")
        assert printed.removesuffix("\n") == output.removesuffix("\n"), command


def question(command: str) -> tuple[AllowedParameters, list[tuple[str, str]]]:
    """Return what a command asks with: the parameters that it may have, and those that it has."""
    words = shlex.split(command)
    [url] = [httpx.URL(word) for word in words if word.startswith("http:")]
    pairs = parse_qsl(url.query.decode(), keep_blank_values=True)
    for flag, word in pairwise(words):
        if flag == "--data-urlencode":
            name, _, value = word.partition("=")
            pairs.append((name, value))
    operation = operation_at(url)
    assert operation is not None, url
    return operation.takes, pairs


def test_each_example_names_what_there_is() -> None:
    for command, output in examples("docs/rest.md"):
        takes, pairs = question(command)
        refused = pytest.raises(RequestError) if '"errors"' in output else nullcontext()
        with refused:
            finished(QueryParameters.parsing(urlencode(pairs).encode(), takes))
    inline = re.findall(r"`((?:fields|filter|sort|include|page)(?:\[[^`=]*\])?)=([^`]+)`", TEXT)
    assert ("sort", "-connected,user") in inline
    [sessions] = [found.takes for found in OPERATIONS if found.path == "/v1/sessions"]
    for pair in inline:
        finished(QueryParameters.parsing(urlencode([pair]).encode(), sessions))


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table with this heading."""
    _, _, rest = TEXT.partition(heading + "\n|---|---|")
    assert rest, heading
    rows = rest.partition("\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows.splitlines()]


def named(cell: str) -> list[str]:
    """Return what is between backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def test_what_acts_does_as_it_stands(tmp_path: Path) -> None:
    """The statement is cancelled first, as in the text; then the session is ended."""
    cancelling, ending = texts("docs/rest.md", "sh", "Ending sessions")
    protection = Protection(insecure_actions=True)
    with (
        showing(
            {"db": [stated("17", ACTIVITY_STATE_ACTIVE)]},
            {"db": "cancel,terminate"},
            protection=protection,
            audit_log=str(tmp_path / "audit.log"),
        ) as shown,
        running_gateway(shown.address, protection=protection) as gateway,
    ):
        for text in (cancelling, ending):
            done = subprocess.run(
                ["sh", "-e", "-c", text.replace(":8989", f":{gateway.port}")],
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=True,
            )
            assert done.stdout == "204\n"
        assert shown.acts == [(Action.CANCEL, "17"), (Action.TERMINATE, "17")]


def test_each_path_is_in_the_table() -> None:
    shown = [path for row in table("| Path | |") for path in named(row[0])]
    page = ["/", "/ui/"]  # which is not of the API
    assert sorted(shown) == sorted([*page, *(path.path for path in by_path(EVERYTHING))])


def test_each_parameter_is_in_the_table() -> None:
    rows = table("| Parameter | Where | |")
    shown = [name for row in rows for name in named(row[0])]
    assert sorted(shown) == sorted({name for found in EVERYTHING for name in found.takes.names})
    [include] = [row for row in rows if row[0] == "`include`"]
    assert named(include[2]) == [*INCLUDES]
    [size] = [row for row in rows if row[0] == "`page[size]`"]
    assert f"{QueryLimits().page_size:,}" in size[2]


def codes() -> set[str]:
    """Return every code that the programs' own errors have."""
    found = {str(answer.reason) for answer in STATUS_MAPPINGS.values()} - NOT_SHOWN
    refusals = vars(identity).values()
    found |= {str(one.reason) for one in refusals if hasattr(one, "reason")}
    for path in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name(id="Error" | "PageError" | "CallError"),
                    args=[_, ast.Constant(value=str(code)), *_],
                ):
                    found.add(code)
    return found


def test_each_code_is_in_the_table() -> None:
    rows = table("| Status | Code | When |")
    shown = [code for row in rows for code in named(row[1])]
    assert len(shown) == len(set(shown))
    # The parameter's and the router's codes are not literals beside their errors.
    router = {"NOT_FOUND", "METHOD_NOT_ALLOWED"}
    assert set(shown) == codes() | {"INVALID_PARAMETER"} | router
    described = {(status, code) for status, codes in CODES.items() for code in codes}
    described |= {(404, code) for code, _ in NOT_FOUND.values()}
    for operation in ACTIONS:
        described |= {
            (int(status), code)
            for status, response in action_responses(operation, {}).items()
            for code in response.get("x-codes", ())
        }
    described.discard((409, Reason.SESSION_CHANGED))  # as 412 says
    grpc_status = {(answer.status, code.name) for code, answer in HTTP_MAPPINGS.items()}
    found = {(int(row[0]), code) for row in rows for code in named(row[1]) if code not in router}
    assert found <= described
    assert described - found <= grpc_status


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
