"""Spans of the real programs, as a receiver of OTLP gets them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sessiongate.runtime.telemetry.correlation import Correlation
from sessiongate.runtime.telemetry.sdk_texts import loggable
from sessiongate.runtime.telemetry.tracing import open_spans
from tests.polling import eventually
from tests.program import DOCUMENT, PATIENCE, Forked

ROOT = Path(__file__).resolve().parent.parent
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "hunter2"


class Got(NamedTuple):
    """A span as it was received."""

    service: str
    span: Span

    @property
    def attributes(self) -> dict[str, str | int]:
        return {
            each.key: each.value.string_value or each.value.int_value
            for each in self.span.attributes
        }


class Receiver:
    """Receives spans by OTLP, over HTTP."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.log: list[dict[str, Any]] = []  # of the programs that sent them
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                receiver.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def spans(self, name: str | None = None) -> list[Got]:
        """Return what was received so far, by name."""
        return [
            Got(_service(resource), span)
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if name in (None, span.name)
        ]

    def wait_for(self, name: str, **wanted: str | int) -> Got:
        """Return the first span with a name and attributes, once it has come."""
        keys = {key.replace("__", "."): value for key, value in wanted.items()}
        return eventually(
            lambda: [got for got in self.spans(name) if keys.items() <= got.attributes.items()]
        )[0]


def _service(resource: Any) -> str:
    (name,) = (
        each.value.string_value
        for each in resource.resource.attributes
        if each.key == "service.name"
    )
    return str(name)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join(PATIENCE)
        receiver.server.server_close()


@pytest.fixture(scope="module")
def received() -> Iterator[Receiver]:
    """Let a gateway and a core send spans of requests, and stop; return what was received."""
    with receiving() as receiver:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        source = {"SESSIONGATE_SOURCE": f"{DOCUMENT} postgresql://{SECRET}:{SECRET}@127.0.0.1:1"}
        arguments = ("--replica", "off", "--access-log", "--log-format", "json")
        with Forked(*arguments, **variables, **source) as program:
            with httpx.Client(
                base_url=f"http://{program.http}",
                timeout=PATIENCE,
                trust_env=False,
                headers={"Authorization": f"Basic {SECRET}"},
            ) as client:
                stated = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
                assert client.get("/v1/sessions/1", headers=stated).status_code == 200
                assert client.get("/v1/sessions/99999").status_code == 404
                assert client.get(f"/{SECRET}?{SECRET}").status_code == 404
                assert client.get("/healthz").status_code == client.get("/readyz").status_code
                with client.stream("GET", "/v1/sessions", headers=EVENTS) as stream:
                    assert stream.status_code == 200
                    receiver.wait_for("GET /sessions")  # before the stream ends
            receiver.wait_for("observe", error__type="SourceConnectError")
            receiver.wait_for("ledger record")
            program.process.terminate()
            assert program.wait() == 0
            lines = program.output.splitlines()
            receiver.log = [json.loads(line) for line in lines if line.startswith("{")]
        yield receiver


EVENTS = {"Accept": "text/event-stream"}


def test_a_request_s_span_is_between_its_caller_s_and_the_core_s(received: Receiver) -> None:
    request = received.wait_for("GET /sessions/{id}", http__response__status_code=200)
    assert request.service == "sessiongate-gateway"
    assert request.span.kind == Span.SPAN_KIND_SERVER
    assert request.span.trace_id.hex() == TRACE
    assert request.span.parent_span_id.hex() == PARENT
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": "/sessions/{id}",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }
    (call,) = (
        got
        for got in received.spans("sessiongate.v1.SessionService/GetSession")
        if got.span.trace_id == request.span.trace_id
    )
    assert call.service == "sessiongate-core"
    assert call.span.parent_span_id == request.span.span_id
    assert call.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "sessiongate.v1.SessionService/GetSession",
        "rpc.response.status_code": "OK",
    }


def test_a_request_without_a_trace_begins_one_which_the_logs_have(received: Receiver) -> None:
    request = received.wait_for("GET /sessions/{id}", http__response__status_code=404)
    assert request.span.parent_span_id == b""
    assert request.span.status.code == Status.STATUS_CODE_UNSET, "the caller's fault"
    lines = [
        line["program"]
        for line in received.log
        if line.get("trace_id") == request.span.trace_id.hex()
    ]
    assert sorted(lines) == ["core", "gateway"]


def test_observations_and_what_they_write_are_recorded(received: Receiver) -> None:
    write = received.wait_for("ledger record", sessiongate__sessions__opened=3)
    (observation,) = (
        got for got in received.spans() if got.span.span_id == write.span.parent_span_id
    )
    assert (observation.service, observation.span.name) == ("sessiongate-core", "observe")
    assert observation.attributes == {
        "sessiongate.source": "sessions.json",
        "sessiongate.source.kind": "document",
        "sessiongate.sessions": 3,
    }
    assert write.attributes["db.system.name"] == "sqlite"
    failed = received.wait_for("observe", error__type="SourceConnectError")
    assert failed.span.status.code == Status.STATUS_CODE_ERROR
    assert failed.span.status.message == ""
    assert received.spans("ledger note"), "also those of the last moment are sent"


def test_nothing_is_recorded_of_what_callers_and_servers_say(received: Receiver) -> None:
    assert received.wait_for("GET", http__response__status_code=404)  # of a path that is not there
    assert SECRET not in str(received.requests)
    assert not any(got.span.events for got in received.spans()), "no exception with its text"
    names = {got.span.name for got in received.spans()}
    assert not {name for name in names if "health" in name.lower() or "ready" in name}


def test_every_attribute_is_documented(received: Receiver) -> None:
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = manual.partition("| Span | Attributes | |\n")[2].partition("\n\n")[0]
    documented = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`([a-z._]+)`", row.split("|")[2])
    }
    assert {name for got in received.spans() for name in got.attributes} == {
        *documented,
        "error.type",
    }


def test_spans_are_sent_over_grpc_too(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[ExportTraceServiceRequest] = []

    class Service:
        def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:
            requests.append(request)
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(Service(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    spans = open_spans("core")
    assert spans is not None
    spans.answering("asked", Correlation("1"), {}).end()
    eventually(spans.close, lambda _: requests)
    (resource,) = requests[0].resource_spans
    assert _service(resource) == "mine"
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "must be otlp or none, got 'zipkin'"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "must be http/protobuf or grpc, got 'http/json'",
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    variables: dict[str, str], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert open_spans("core", variables) is None
    assert why in caplog.text


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
OVER_GRPC = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}


@pytest.mark.parametrize(
    "variables",
    [
        {**OVER_GRPC, "OTEL_EXPORTER_OTLP_COMPRESSION": "brotli"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "99"},
        {"OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER": "nobody"},
    ],
    ids=lambda each: [*each][-1],
)
def test_whatever_the_sdk_refuses_costs_only_the_spans(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in (ENDPOINT | variables).items():
        monkeypatch.setenv(name, value)
    assert open_spans("core") is None
    assert "no spans are recorded: check the variables of OpenTelemetry (OTEL_*)" in caplog.text


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://me:{SECRET}@127.0.0.1:1", **OVER_GRPC},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:1/?token={SECRET}"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET}%0A{SECRET}"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"what is this {SECRET}"},
    ],
    ids=["login", "query", "header", "malformed"],
)
def test_no_complaint_of_the_sdk_shows_a_password(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    spans = open_spans("core")
    assert spans is not None
    stated = Correlation("1", f"00-{TRACE}-{PARENT}-01", f"{SECRET} is no state")
    spans.answering("asked", stated, {}).end()
    spans.close()
    eventually(lambda: caplog.text, lambda text: "export" in text)
    assert SECRET not in caplog.text


def test_a_complaint_is_not_longer_than_a_line() -> None:
    assert len(loggable("why " * 10_000, {})) < 1000
