"""An operator's views of the real programs: metrics, logs, health, the service manager."""

from __future__ import annotations

import json
import operator
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from sessiongate.gateway.limits import Limits
from sessiongate.runtime.limits import CoreLimits
from sessiongate.runtime.settings import settings_of
from sessiongate.v1.session_service_pb2 import WatchSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.polling import eventually
from tests.program import DOCUMENT, PATIENCE, Forked, ForkedProgram, Program, channel, run
from tests.servers import require
from tests.snippets import texts

ROOT = Path(__file__).resolve().parent.parent
MANUAL = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = ROOT / "deploy" / "prometheus-alerts.yaml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
TRACE = "0af7651916cd43dd8448eb211c80319c"
GRAFANA = {"$__rate_interval": "1m", "${datasource}": ""}


class Watched(Forked):
    """Two workers and a core that show their metrics and log every request."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(
            *("--source", DOCUMENT, "--source", "synthetic:", "--workers", "2"),
            *("--metrics", "127.0.0.1:0", "--core-metrics", "127.0.0.1:0"),
            *("--access-log", "--log-format", "json", *arguments),
        )
        found = {
            line["program"]: line["message"].removeprefix("metrics at ")
            for line in self.lines()
            if line["message"].startswith("metrics at ")
        }
        self.shown = found["gateway"], found["core"]

    def lines(self) -> list[dict[str, Any]]:
        """Return the log so far."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Make a request on a separate connection: any worker may answer."""
        return httpx.get(
            f"http://{self.http}{path}", headers=headers, timeout=PATIENCE, trust_env=False
        )

    def metrics(self) -> list[Metric]:
        """Return all metrics that both show."""
        texts = [httpx.get(url, timeout=PATIENCE, trust_env=False).text for url in self.shown]
        return [metric for text in texts for metric in text_string_to_metric_families(text)]

    def samples(self) -> list[Sample]:
        """Return all samples that both show."""
        return [sample for metric in self.metrics() for sample in metric.samples]

    def requests(self, route: str) -> float:
        """Return how many requests a route has answered, by the metrics."""
        return sum(
            sample.value
            for sample in self.samples()
            if sample.name == "sessiongate_http_request_duration_seconds_count"
            and sample.labels["route"] == route
        )

    def counted(self, route: str, number: float) -> None:
        """Wait until the metrics say so: a worker counts a request once it has sent the answer."""
        eventually(lambda: self.requests(route), lambda found: found >= number)
        assert self.requests(route) == number


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with Watched() as program:
        for path in ("/v1/sessions", "/v1/sessions/1", "/v1/sessions/9", "/v1/sources", "/nowhere"):
            program.get(path)
        with channel(program.grpc) as opened:
            watch = SessionServiceStub(opened).WatchSessions(WatchSessionsRequest())
            next(watch)
            watch.cancel()
        # Calls and streams are counted only once they have ended.
        ended = {
            "sessiongate_core_call_duration_seconds_count",
            "sessiongate_grpc_call_duration_seconds_count",
            "sessiongate_grpc_streams_ended_total",
        }
        eventually(lambda: ended - {sample.name for sample in program.samples()}, operator.not_)
        yield program


def documented() -> Mapping[str, tuple[str, str, set[str]]]:
    """Return the metrics in the manual: their type, and their labels."""
    rows = re.findall(r"^\| `((?:sessiongate|process)_\w+)` \| (\w+) \| (.*?) \|", MANUAL, re.M)
    return {name: (name, kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def is_of_a_shard(metric: str) -> bool:
    """Return whether only a core with a ledger in PostgreSQL shows a metric."""
    found = re.match("sessiongate_(shard_|ledger_partitions|ledger_oldest)", metric)
    return bool(found) and not is_of_a_front(metric)


def is_of_a_front(metric: str) -> bool:
    """Return whether only a front shows a metric."""
    return metric in ("sessiongate_shard_heard", "sessiongate_shard_age_seconds")


# It is there only if somebody may act: tests/core/test_actions.py.
ACTIONS = {"sessiongate_actions": documented()["sessiongate_actions"]}
# They are there only with a ledger in PostgreSQL: tests/test_shards.py and tests/test_fronts.py.
SHARDS = {name: each for name, each in documented().items() if is_of_a_shard(name)}
FRONTS = {name: each for name, each in documented().items() if is_of_a_front(name)}


def queries() -> Iterator[str]:
    """Yield the queries of the dashboard's panels, and of the alerts."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in GRAFANA.items():
                query = query.replace(name, value)
            yield query
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def selectors(query: str) -> list[Any]:
    """Return the series that a query reads."""
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        elif isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def grouped_by(query: str) -> set[str]:
    """Return the labels that a query groups by, without the one that histograms imply."""
    groups = re.findall(r"by \(([a-z_, ]+)\)", query)
    return {label.strip() for group in groups for label in group.split(",")} - {"le"}


def operands(query: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the parts of a query, each with the labels by which it is matched to the first."""
    first, *others = re.split(r" (?:and|unless) on ", query)
    yield first, set()
    for other in others:
        labels, _, part = other.removeprefix("(").partition(") ")
        yield part, {*labels.split(", ")}


@pytest.fixture(scope="module")
def series(watched: Watched) -> Mapping[str, set[str]]:
    """Return the labels of each series that there may be."""
    found: dict[str, set[str]] = {"up": {"job", "instance"}}  # Prometheus's own
    for name, (_, kind, labels) in (ACTIONS | SHARDS | FRONTS).items():
        found[f"{name}_total" if kind == "counter" else name] = {"instance", *labels}
    for metric in watched.metrics():
        found.setdefault(metric.name, {"instance"})  # nothing may be there to show yet
        for sample in metric.samples:
            found.setdefault(sample.name, {"instance"}).update(sample.labels)
    return found


@pytest.mark.parametrize("query", [*queries()])
def test_every_query_finds_its_series(query: str, series: Mapping[str, set[str]]) -> None:
    for part, labels in operands(query):
        read = selectors(part)
        assert read
        for selector in read:
            assert selector.name in series
            matched = set(re.findall(r"([a-z_]+)(?:=~|!~|!=|=)\"", str(selector.matchers)))
            assert matched | labels | grouped_by(part) <= series[selector.name]


def test_prometheus_takes_the_documented_targets(tmp_path: Path) -> None:
    (text,) = texts("docs/operations.md", "yaml")
    file = tmp_path / "prometheus.yml"
    file.write_text(text, encoding="utf-8")
    shutil.copy(ALERTS, tmp_path)
    done = subprocess.run(
        [require("promtool", "prometheus"), "check", "config", file],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 rule files found" in done.stdout


def test_every_metric_is_documented_with_its_labels(watched: Watched) -> None:
    shown = {}
    for metric in watched.metrics():
        labels = {label for sample in metric.samples for label in sample.labels}
        shown[metric.name] = metric.name, metric.type, labels - {"le"}
    assert shown | ACTIONS | SHARDS | FRONTS == documented()


def test_every_limit_is_documented() -> None:
    table = MANUAL.partition("| Setting | Beyond it |")[2].partition("\n\n")[0]
    limits = {*settings_of(Limits), *settings_of(CoreLimits), "core_timeout"}
    assert (
        set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\|(.*?)\|", table, re.M)))) == limits
    )


def test_metrics_are_the_sum_of_all_workers_also_of_one_that_died(watched: Watched) -> None:
    before = watched.requests("/sources")
    for _ in range(20):
        assert watched.get("/v1/sources").status_code == 200
    watched.counted("/sources", before + 20)
    [one, other] = watched.workers()
    one.kill()
    one.wait(PATIENCE)
    assert watched.requests("/sources") == before + 20
    for _ in range(20):
        assert watched.get("/v1/sources").status_code == 200
    watched.counted("/sources", before + 40)
    assert other.is_running()
    eventually(
        lambda: {sample.labels.get("process") for sample in watched.samples()},
        lambda processes: {"gateway", "worker 1", "worker 2", "core"} <= processes,
    )


def test_one_id_leads_from_the_request_to_the_core_s_lines(watched: Watched) -> None:
    traceparent = f"00-{TRACE}-b7ad6b7169203331-01"
    answer = watched.get("/v1/sources", **{"X-Request-ID": "mine-1", "traceparent": traceparent})
    assert answer.headers["x-request-id"] == "mine-1"
    for _ in range(2):  # in either order
        watched.expect(r'"(core|gateway)\.access".*"mine-1"')
    told = [line for line in watched.lines() if line.get("request_id") == "mine-1"]
    assert {line["program"]: line["message"] for line in told} == {
        "core": "sessiongate.v1.SourceService/ListSources OK",
        "gateway": "GET /v1/sources 200",
    }
    assert {line["trace_id"] for line in told} == {TRACE}


def test_check_tells_scripts_whether_a_core_serves(watched: Watched) -> None:
    there = run("check", "--core", watched.grpc)
    assert (there.returncode, there.stdout) == (0, f"the core at {watched.grpc} is ready\n")
    gone = run("check", "--core", "127.0.0.1:1")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "no core responds at 127.0.0.1:1" in gone.stderr
    assert run("check", "--core", "nowhere").returncode == 2


@pytest.mark.parametrize("name", ["--metrics", "--core-metrics"])
def test_metrics_are_not_shown_to_other_machines(name: str) -> None:
    refused = run("serve", name, "0.0.0.0:0", "--ledger", "sqlite://")
    assert refused.returncode == 2
    assert "other machines can reach 0.0.0.0:0" in refused.stderr
    assert name in refused.stderr


def test_links_are_as_the_proxy_s_callers_see_them() -> None:
    arguments = ("--source", DOCUMENT, "--allowed-host", "a.example")
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example"}
    with Forked(*arguments, "--trusted-proxies", "127.0.0.0/8") as program:
        url = f"http://{program.http}/v1/sessions/1"
        answer = httpx.get(url, headers=headers, timeout=PATIENCE, trust_env=False)
        assert answer.json()["links"]["self"] == "https://a.example/v1/sessions/1"


@pytest.mark.parametrize("command", ["serve", "core"])
def test_the_service_manager_is_told(command: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        listeners = ["--grpc", "127.0.0.1:0"]
        listeners += ["--http", "127.0.0.1:0"] if command == "serve" else []
        # Forked programs of its own would not show what environment they got.
        kind = Program if command == "serve" else ForkedProgram
        with kind(
            *(command, *listeners, "--ledger", "sqlite://", "--source", DOCUMENT),
            NOTIFY_SOCKET=str(tmp_path / "notify"),
        ) as program:
            assert manager.recv(100) == b"READY=1"
            for child in program.children():
                assert "NOTIFY_SOCKET" not in child.environ()
            program.process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert program.wait() == 0
