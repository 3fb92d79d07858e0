"""Clients that other tools generate from the description, calling the gateway that served it."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from sessiongate.gateway.jsonapi.document import dump
from tests.gateway.fleet import SERVICES, SIZE, write_fleet
from tests.gateway.programs import LONG, ROOT
from tests.kept import kept
from tests.node import node_modules, run
from tests.program import BIN, Forked
from tests.snippets import texts

PACKAGE = "sessiongate_client"
PROJECT = ROOT / "pyproject.toml"

Part = Callable[[str], Any]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a gateway whose sessions have every field, and which describes actions."""
    fleet = write_fleet(tmp_path_factory.mktemp("fleet") / "fleet.json")
    sources = ("--source", f"document:{fleet}", "--source", "synthetic:?sessions=3")
    with Forked(*sources, "--insecure-actions") as served:
        yield f"http://{served.http}"


def plain(url: str, path: str) -> Any:
    """Fetch what plain HTTP returns at a path."""
    return httpx.get(url + path, timeout=LONG).json()


def timeless(document: Any) -> Any:
    """Remove from a document what changes with the clock alone."""
    for item in document["data"] if isinstance(document["data"], list) else [document["data"]]:
        item["attributes"].pop("idle", None)
    return document


def install_generator(folder: Path) -> None:
    """Install what makes clients in Python."""
    tools = folder / "venv"
    run(BIN / "uv", "venv", "--quiet", "--clear", "--python", sys.executable, tools, cwd=folder)
    run(
        *(BIN / "uv", "pip", "install", "--quiet", "--compile-bytecode"),
        *("--python", tools / "bin" / "python", "--group", f"{PROJECT}:clients"),
        cwd=folder,
    )


@pytest.fixture(scope="module")
def part(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Part]:
    """Yield a function that imports a module of the Python client.

    Its generator needs an older Typer than the command does, so it is installed separately.
    """
    declared = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["dependency-groups"]["clients"]
    tools = kept("clients", json.dumps(declared).encode(), install_generator) / "venv" / "bin"
    folder = tmp_path_factory.mktemp("python")
    run(
        *(tools / "openapi-python-client", "generate", "--fail-on-warning"),
        *("--url", f"{url}/v1/openapi.json", "--meta", "none", "--output-path", folder / PACKAGE),
        cwd=folder,
        # It formats its output with the ruff that it installs.
        PATH=f"{tools}{os.pathsep}{os.environ['PATH']}",
        NO_PROXY="127.0.0.1",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield lambda name: import_module(f"{PACKAGE}.{name}")


@pytest.fixture(scope="module")
def client(url: str, part: Part) -> Any:
    """Open the client, which rejects any status that is not described."""
    made = part("client").Client(
        base_url=url, timeout=httpx.Timeout(LONG), raise_on_unexpected_status=True
    )
    with made as entered:
        yield entered


def undeclared(value: Any) -> list[str]:
    """Return the members of a client's model that its class does not declare."""
    if isinstance(value, list):
        return [name for item in value for name in undeclared(item)]
    if not attrs.has(type(value)):
        return []
    found = [f"{type(value).__name__}.{name}" for name in value.additional_properties]
    for field in attrs.fields(type(value)):
        # These differ from driver to driver.
        if field.name not in ("additional_properties", "connection_attributes"):
            found += undeclared(getattr(value, field.name))
    return found


def test_a_client_in_python_lists_sessions(url: str, part: Part, client: Any) -> None:
    found = part("api.sessions.list_sessions").sync(client=client)
    assert isinstance(found, part("models").Sessions)
    assert timeless(found.to_dict()) == timeless(plain(url, "/v1/sessions"))
    assert undeclared(found) == []
    assert len(found.data) == SIZE + 3


def test_a_client_in_python_asks_for_what_there_are_parameters_for(
    url: str, part: Part, client: Any
) -> None:
    models = part("models")
    found = part("api.sessions.list_sessions").sync(
        client=client,
        filter_=['/attributes/user="user1"'],
        sort=["-id"],
        pagesize=2,
        pagenumber=1,
        include=[models.ListSessionsIncludeItem.SERVICES],
        fieldssessions=["state,user"],
    )
    query = {
        "filter": '/attributes/user="user1"',
        "sort": "-id",
        "page[size]": "2",
        "page[number]": "1",
        "include": "services",
        "fields[sessions]": "state,user",
    }
    document = httpx.get(f"{url}/v1/sessions", params=query, timeout=LONG).json()
    assert [session.id for session in found.data] == [item["id"] for item in document["data"]]
    assert [session.attributes.user for session in found.data] == ["user1", "user1"]
    assert found.meta.total == document["meta"]["total"]
    assert {type(item) for item in found.included} == {models.ServiceResource}
    assert [item.to_dict() for item in found.included] == document["included"]
    assert undeclared(found) == []


def test_the_documented_program_prints_every_session(
    url: str, part: Part, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program of docs/rest.md; ``part`` has put the client in its place."""
    [program] = texts("docs/rest.md", "python")
    exec(program.replace("http://localhost:8989", url), {})
    query = {"sort": "-connected,user", "page[size]": "10"}
    document = httpx.get(f"{url}/v1/sessions", params=query, timeout=LONG).json()
    printed = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == [item["id"] for item in document["data"]]


def test_a_client_in_python_gets_one_session(url: str, part: Part, client: Any) -> None:
    ident = next(
        item["id"]
        for item in plain(url, "/v1/sessions")["data"]
        if "connection_attributes" in item["attributes"].get("client", {})
    )
    found = part("api.sessions.get_session").sync(ident, client=client)
    document = plain(url, f"/v1/sessions/{ident}")
    assert timeless(found.to_dict()) == timeless(document)
    attributes, shown = found.data.attributes, document["data"]["attributes"]
    assert attributes.state == part("models").SessionAttributesState(shown["state"])
    assert attributes.port == shown["port"]
    assert attributes.connections[0].server == shown["connections"][0]["server"]
    named = attributes.client.connection_attributes.to_dict()
    assert named == shown["client"]["connection_attributes"]
    [service] = document["data"]["relationships"]["services"]["data"]
    assert found.data.relationships.services.data[0].id == service["id"]


def test_a_client_in_python_lists_services(url: str, part: Part, client: Any) -> None:
    found = part("api.services.list_services").sync(client=client)
    assert found.to_dict() == plain(url, "/v1/services")
    assert undeclared(found) == []
    assert {*SERVICES} < {service.id for service in found.data}


def test_a_client_in_python_lists_sources(url: str, part: Part, client: Any) -> None:
    found = part("api.sources.list_sources").sync(client=client)
    for source, shown in zip(found.data, plain(url, "/v1/sources")["data"], strict=True):
        attributes = source.attributes
        assert source.id == shown["id"]
        assert attributes.kind == shown["attributes"]["kind"]
        assert attributes.state.value == shown["attributes"]["state"]
        assert attributes.sessions == shown["attributes"]["sessions"]
        assert isinstance(attributes.last_success, datetime)
    assert undeclared(found) == []


def test_a_client_in_python_reads_errors(url: str, part: Part, client: Any) -> None:
    found = part("api.sessions.get_session").sync_detailed("999", client=client)
    assert found.status_code == 404
    assert isinstance(found.parsed, part("models").Errors)
    assert found.parsed.to_dict() == plain(url, "/v1/sessions/999")
    assert found.parsed.errors[0].code == "SESSION_NOT_FOUND"
    assert undeclared(found.parsed) == []


# Real answers, checked against the types, and how a program uses them.
USE = """
import type { paths } from "./api";

type Answer<Path extends keyof paths> = paths[Path] extends {
  get: { responses: { 200: { content: { "application/vnd.api+json": infer Document } } } };
} ? Document : never;
type Sessions =
  paths["/v1/sessions"]["get"]["responses"]["200"]["content"]["application/vnd.api+json"];
type Query = NonNullable<paths["/v1/sessions"]["get"]["parameters"]["query"]>;
type Errors =
  paths["/v1/sessions/{id}"]["get"]["responses"]["404"]["content"]["application/vnd.api+json"];

const sessions: Sessions = %(sessions)s;
export const session: Answer<"/v1/sessions/{id}"> = %(session)s;
export const services: Answer<"/v1/services"> = %(services)s;
export const sources: Answer<"/v1/sources"> = %(sources)s;
export const counts: Answer<"/v1/counts"> = %(counts)s;
export const api: Answer<"/v1"> = %(api)s;
export const errors: Errors = %(errors)s;
export const query: Query = { "page[size]": 10, "page[after]": "3", include: ["services"] };

for (const { id, type, attributes, relationships } of sessions.data) {
  const kind: "sessions" = type;
  const user: string | undefined = attributes?.user;
  const cut: boolean | undefined = attributes?.queries?.[0]?.truncated;
  const upstream: string[] = relationships?.upstream?.data.map((session) => session.id) ?? [];
  console.log(id, kind, attributes?.state === "Session started", user, cut, upstream);
  // @ts-expect-error: there is no such attribute
  console.log(attributes?.name);
}
"""


# What the command of openapi-typescript does, without its own linting (see `REDOCLY`), and as a
# script: as a module, Node.js would look through the whole of TypeScript for what it exports.
TYPES = """
const { readFileSync, writeFileSync } = require("node:fs");
const { createConfig } = require("@redocly/openapi-core");
const { default: openapiTS, astToString } = require("openapi-typescript");

(async () => {
  const redocly = await createConfig({});
  const types = await openapiTS(readFileSync("openapi.json", "utf8"), { redocly });
  writeFileSync("api.ts", astToString(types));
})();
"""


# The same description as a client's types: it is compiled, and asks the gateway.
ASK = """
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

declare const process: { argv: string[] };
const client = createClient<paths>({
  baseUrl: process.argv[2],
  querySerializer: { array: { style: "form", explode: false } },
});
const query = { sort: ["-connected", "user"], "page[size]": 10 };
const { data } = await client.GET("/v1/sessions", { params: { query } });
const id = "999";
const { error } = await client.GET("/v1/sessions/{id}", { params: { path: { id } } });
const code: string | undefined = error?.errors[0]?.code;
console.log(JSON.stringify([data?.data.map((session) => session.id), code]));
// @ts-expect-error: there is no such path
export const wrong = client.GET("/v1/session");
"""


@pytest.fixture(scope="module")
def described(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the description where the programs of npm are."""
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "node_modules").symlink_to(node_modules())
    (folder / "package.json").write_text('{"type": "module"}')
    answer = httpx.get(f"{url}/v1/openapi.json?pretty=true", timeout=LONG)
    (folder / "openapi.json").write_bytes(answer.content)
    return folder


def test_types_for_typescript_are_those_of_the_answers(url: str, described: Path) -> None:
    paths = {
        "sessions": "/v1/sessions",
        "session": "/v1/sessions/3",
        "services": "/v1/services",
        "sources": "/v1/sources",
        "counts": "/v1/counts?by=service,user,state",
        "api": "/v1/",
        "errors": "/v1/sessions/999",
    }
    answers = {name: dump(plain(url, path), pretty=True) for name, path in paths.items()}
    (described / "use.ts").write_text(USE % {name: text.decode() for name, text in answers.items()})
    (described / "ask.ts").write_text(ASK)
    (described / "types.cjs").write_text(TYPES)
    run("node", "types.cjs", cwd=described)
    # The generator needs TypeScript 5; what it makes is checked by 7, in a tenth of the CPU.
    compiler = described / "node_modules" / "typescript-7" / "bin" / "tsc"
    checked = ("--strict", "--noUncheckedIndexedAccess", "--skipLibCheck", "--target", "es2022")
    written = ("--module", "esnext", "--moduleResolution", "bundler", "--outDir", "made")
    run(compiler, *checked, *written, "use.ts", "ask.ts", cwd=described)
    asked = run("node", "made/ask.js", url, cwd=described, NO_PROXY="127.0.0.1")
    query = {"sort": "-connected,user", "page[size]": "10"}
    listed = httpx.get(f"{url}/v1/sessions", params=query, timeout=LONG).json()["data"]
    assert json.loads(asked.stdout) == [[item["id"] for item in listed], "SESSION_NOT_FOUND"]


# Spectral without its command, which comes with three times as many packages.
SPECTRAL = """
import { readFileSync } from "node:fs";
import core from "@stoplight/spectral-core";
import rulesets from "@stoplight/spectral-rulesets";

const spectral = new core.Spectral();
// Redocly looks at the examples and at the structure, in a tenth of the CPU.
const dear = ["oas3-schema", "oas3-valid-media-example", "oas3-valid-schema-example"];
const rules = Object.fromEntries(dear.map((name) => [name, "off"]));
spectral.setRuleset({ extends: [rulesets.oas], rules });
const description = JSON.parse(readFileSync("openapi.json", "utf8"));
console.log(JSON.stringify(await spectral.run(description)));
"""
REDOCLY = """
extends: [recommended]
rules:
  no-invalid-media-type-examples: error
  no-invalid-parameter-examples: error
  no-invalid-schema-examples: error
"""


@pytest.mark.long
def test_linters_find_nothing(described: Path) -> None:
    (described / "spectral.js").write_text(SPECTRAL)
    (described / "redocly.yaml").write_text(REDOCLY)
    assert json.loads(run("node", "spectral.js", cwd=described).stdout) == []
    redocly = described / "node_modules" / ".bin" / "redocly"
    linted = run(redocly, "lint", "openapi.json", "--format", "json", cwd=described)
    assert json.loads(linted.stdout)["problems"] == []
