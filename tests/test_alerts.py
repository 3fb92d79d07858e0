"""The alerts in deploy/: taken by Prometheus, tried by its own tool, and explained."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import yaml

from tests.program import PATIENCE
from tests.servers import require

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "deploy" / "prometheus-alerts.yaml"
TRIALS = ROOT / "tests" / "data" / "prometheus-alerts.test.yaml"
ALERTS = [
    rule
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]


def promtool(*arguments: object) -> str:
    done = subprocess.run(
        [require("promtool", "prometheus"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", RULES)


def test_each_alert_fires_when_it_should_and_else_does_not() -> None:
    assert "SUCCESS" in promtool("test", "rules", TRIALS)
    tried = defaultdict(set)
    for trial in yaml.safe_load(TRIALS.read_text(encoding="utf-8"))["tests"]:
        for case in trial["alert_rule_test"]:
            tried[case["alertname"]].add(bool(case["exp_alerts"]))
    assert tried == {alert["alert"]: {True, False} for alert in ALERTS}


def test_each_alert_says_what_to_do() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\w+)\n\n(.+?)(?=\n## |\Z)", page, re.M | re.S)
    assert [name for name, _ in sections] == [alert["alert"] for alert in ALERTS]
    assert all("\n1. " in text for _, text in sections)
    for alert in ALERTS:
        assert {*alert["annotations"]} == {"summary", "description", "runbook"}
        assert alert["annotations"]["runbook"] == f"docs/alerts.md#{alert['alert'].lower()}"
        assert alert["labels"]["severity"] in ("critical", "warning")
