"""The page at /docs: nothing twice, nothing that leads nowhere, nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser

import httpx
import pytest

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.openapi.description import describe
from sessiongate.gateway.openapi.markup import line
from sessiongate.gateway.openapi.page import page
from sessiongate.gateway.openapi.schemas import SCHEMAS
from tests.gateway.programs import DATA, LONG, Gateway, running_core, viewing_gateway

BASE = "https://sessions.example/x"
DESCRIPTION = describe(OPERATIONS, BASE)
TEXT = page(DESCRIPTION)
_CLOSED = {"section", "nav", "main", "script", "style", "pre", "header"}


class Page(HTMLParser):
    """The resources that an HTML page would load or run, its contents, and its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.anchors: list[str] = []
        self.headings: list[int] = []
        self.landmarks: Counter[str] = Counter()
        self.links: list[tuple[str, str]] = []  # each with the innermost section around it
        self.texts: dict[str, list[str]] = {"pre": [], "script": [], "style": []}
        self._open: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag in ("link", "img", "iframe", "object", "embed", "base", "form"):
            self.loaded.append(tag)
        self.loaded += [name for name in found if name in ("src", "srcset", "style")]
        self.loaded += [name for name in found if name.startswith("on")]
        identity = found.get("id") or ""
        if identity:
            self.anchors.append(identity)
        if tag == "a":
            around = [name for kind, name in self._open if kind == "section"]
            self.links.append((around[-1] if around else "", found["href"] or ""))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag in ("header", "nav", "main"):
            self.landmarks[tag] += 1
        if tag in _CLOSED:
            self._open.append((tag, identity))
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in _CLOSED:
            assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] in self.texts:
            self.texts[self._open[-1][0]][-1] += data

    @property
    def commands(self) -> list[str]:
        """The commands to try."""
        return [text for text in self.texts["pre"] if text.startswith("curl ")]


PAGE = Page(TEXT)


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    """Run a gateway in front of a source with the name that the examples have."""
    with (
        running_core(f"document:{DATA / 'sessions.json'}?name=maxscale-1") as core,
        viewing_gateway(core, "replica") as gateway,
    ):
        yield gateway


def test_it_has_every_operation_and_schema() -> None:
    for operation in OPERATIONS:
        assert operation.name in PAGE.anchors
        assert operation.summary in TEXT
        assert operation.description in TEXT
    assert {f"schema-{name}" for name in SCHEMAS} <= {*PAGE.anchors}


def test_what_the_description_says_is_text() -> None:
    assert TEXT.count("<script") == 1
    hostile = json.loads(json.dumps(DESCRIPTION).replace("Sessiongate", "<script>x</script>"))
    assert page(hostile).count("<script") == 1


def test_collections_come_first() -> None:
    names = {operation.name for operation in OPERATIONS}
    order = [anchor for anchor in PAGE.anchors if anchor in names or anchor.startswith("group-")]
    assert order[:13] == [
        *("group-sessions", "listSessions", "getSession", "listSessionsOfService"),
        *("listPastSessions", "getPastSession"),
        *("group-services", "listServices", "getService"),
        *("listServicesOfSession", "getServicesLinkage"),
        *("group-counts", "listCounts"),
    ]
    groups = [anchor for anchor in order if anchor.startswith("group-")]
    assert groups[3:] == ["group-sources", "group-events", "group-maxscale", "group-api"]


def test_what_operations_share_stands_once() -> None:
    uses = Counter(
        line(found["description"])
        for methods in DESCRIPTION["paths"].values()
        for found in map(resolved, methods["get"]["parameters"])
        if found["in"] != "path"
    )
    shared = [text for text, number in uses.items() if number > 1]
    assert len(shared) > 15
    assert [text for text in shared if TEXT.count(text) != 1] == []
    for name, error in DESCRIPTION["components"]["responses"].items():
        assert TEXT.count(f'id="{name.lower().replace("error", "error-")}"') == 1
        for code, about in error["x-codes"].items():
            assert TEXT.count(f'id="code-{code}"') == 1
            assert TEXT.count(line(about) or code) >= 1


def resolved(found: dict[str, str]) -> dict[str, str]:
    """Return a parameter, or what a reference to one refers to."""
    name = found.get("$ref", "").rpartition("/")[2]
    parameter: dict[str, str] = DESCRIPTION["components"]["parameters"][name] if name else found
    return parameter


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: found.name)
def test_each_operation_leads_to_its_parameters_and_errors(operation: Operation) -> None:
    name, methods = operation.name, DESCRIPTION["paths"][operation.path]["get"]
    leads = {link.removeprefix("#") for section, link in PAGE.links if section == name}
    for found in map(resolved, methods["parameters"]):
        key = re.sub(r"\W+", "-", found["name"]).strip("-")
        assert f"parameter-{key}" in leads or f"{name}-{key}" in PAGE.anchors
    groups = TEXT.split('<section id="errors-')[1:]
    listed = {part.partition('"')[0]: {*re.findall('id="error-([0-9]+)"', part)} for part in groups}
    reached = set().union(*(listed[lead[7:]] for lead in leads if lead.startswith("errors-")))
    assert reached == {key for key, found in methods["responses"].items() if "$ref" in found}


def test_every_anchor_is_one_place_and_every_link_leads_to_one() -> None:
    assert [anchor for anchor, number in Counter(PAGE.anchors).items() if number > 1] == []
    inner = [link[1:] for _, link in PAGE.links if link.startswith("#")]
    assert [link for link in inner if link not in PAGE.anchors] == []
    outer = {link for _, link in PAGE.links if not link.startswith("#")}
    assert outer == {f"{BASE}/", f"{BASE}/v1/sessions", f"{BASE}/v1/openapi.json"}


def test_every_schema_can_be_reached_from_an_operation() -> None:
    leads: dict[str, set[str]] = {}
    for section, link in PAGE.links:
        leads.setdefault(section, set()).add(link.removeprefix("#"))
    ahead = [operation.name for operation in OPERATIONS]
    seen = set(ahead)
    while ahead:
        further = leads.get(ahead.pop(), set()) - seen
        seen |= further
        ahead += further
    assert {f"schema-{name}" for name in SCHEMAS} <= seen | {"schema-Errors", "schema-Error"}


def test_a_reader_without_eyes_finds_the_way() -> None:
    assert PAGE.landmarks == {"header": 1, "nav": 1, "main": 1}
    assert PAGE.headings[:2] == [1, 2]
    steps = zip(PAGE.headings, PAGE.headings[1:], strict=False)
    assert [(one, other) for one, other in steps if other > one + 1] == []
    assert PAGE.links[0] == ("", "#content")


def test_the_live_page_is_linked_only_if_there_is_one() -> None:
    assert "Live sessions" in TEXT
    assert "Live sessions" not in page(DESCRIPTION, ui=False)


def test_it_loads_nothing_and_its_policy_allows_what_is_in_it(served: Gateway) -> None:
    accept = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = httpx.get(f"{served.url}/docs", headers=accept, timeout=LONG)
    assert answer.headers["content-type"].startswith("text/html")
    found = Page(answer.text)
    assert found.loaded == []
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    directives = dict(
        part.split(maxsplit=1) for part in answer.headers["content-security-policy"].split(";")
    )
    hashes = {}
    for tag in ("script", "style"):
        [text] = found.texts[tag]
        hashes[f"{tag}-src"] = f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
    assert directives == {
        "default-src": "'none'",
        **hashes,
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    for link in {link for _, link in found.links if not link.startswith("#")}:
        assert httpx.get(link, timeout=LONG).status_code == 200


def test_each_command_works_as_it_stands(served: Gateway) -> None:
    found = Page(httpx.get(f"{served.url}/docs", timeout=LONG).text)
    assert len(found.commands) == len(OPERATIONS)
    for command in found.commands:
        words = shlex.split(command)
        if "--no-buffer" in words:  # it would never end
            with httpx.stream("GET", words[-1], timeout=LONG) as stream:
                assert stream.status_code == 200
            continue
        words[1:1] = ["--silent", "--show-error", "--write-out", "\n%{http_code}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=LONG, check=True)
        assert done.stdout.rpartition("\n")[2] == "200", command
