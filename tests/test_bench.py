"""The benchmark's claims about itself; running it shows that it runs."""

from __future__ import annotations

import asyncio

import pytest
from google.api.annotations_pb2 import http  # type: ignore[import-untyped]  # has no stubs

from bench.churned import Churned
from bench.envoy import ROUTES, annotated
from bench.findings import STILL, TARGETS, Findings
from bench.grpc_calls import BARE, CORE, GET, GUARDED, Rates
from bench.load import Load
from bench.measures import FULL, QUICK
from bench.paths import ONE, PAGE
from bench.recordings import ANSWERS, KINDS
from bench.report import render
from bench.rounds import Cell, Sample
from bench.scale import MEASURES, Scale
from bench.stack import GATEWAY, GATEWAY_2
from sessiongate.v1.session_service_pb2 import DESCRIPTOR

SESSIONS = 20


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_a_kind_reads_again_and_again_is_unchanged(kind: str) -> None:
    observe = KINDS[kind](SESSIONS)

    observations = [asyncio.run(observe()) for _ in range(ANSWERS)]

    for observation in observations:
        assert [item.key for item in observation.sessions] == [
            item.key for item in observations[0].sessions
        ]
        assert len(observation.sessions) == SESSIONS
    assert [item.session for item in observations[-1].sessions] == [
        item.session for item in observations[0].sessions
    ]


def test_envoy_gets_the_contract_with_routes_added_and_nothing_else() -> None:
    file = annotated().file[-1]

    methods = {method.name: method for method in file.service[0].method}
    routes = {name: method.options.Extensions[http].get for name, method in methods.items()}
    assert {name: route for name, route in routes.items() if route} == ROUTES
    for method in methods.values():
        method.ClearField("options")
    original = type(file)()
    DESCRIPTOR.CopyToProto(original)
    assert file == original


def test_what_was_not_measured_is_reported_as_such() -> None:
    report = render(Findings(), [], "")

    assert report.count("not measured") == len(TARGETS)


def test_two_workers_are_compared_by_the_cpu_time_of_an_answer() -> None:
    findings = Findings()
    for server, spent in ((GATEWAY, 30e-6), (GATEWAY_2, 40e-6)):
        sample = Sample(Load(1, 1, 1, 1), spent, 1.0)
        findings.figures.samples[Cell(ONE, server, STILL)] = [sample]
        findings.figures.lengths[Cell(ONE, server, STILL)] = 1

    report = render(findings, [], "")

    assert (
        "to one on one, at 10,000\n\n| path | ratio |\n| --- | --- |\n| one session | 1.50 |"
        in report
    )


def test_targets_at_scale_hold_for_the_full_sizes_only() -> None:
    figures = {each: (each.bound or 0) * (0.5 if each.at_most else 2) for each in MEASURES}
    bounds = sum(each.bound is not None for each in MEASURES)

    full, quick = (render(Findings(scale=Scale(sizes, figures)), [], "") for sizes in (FULL, QUICK))

    assert full.count("| yes |") == bounds > 0
    assert quick.count("| yes |") == 0
    assert f"{QUICK.table:,} sessions" in quick


def test_a_fault_at_scale_is_reported_beside_what_was_measured() -> None:
    first, *others = MEASURES
    scale = Scale(FULL, {first: 1.0}, dict.fromkeys(others, "no change was\ntold"))

    report = render(Findings(scale=scale), [], "")

    assert report.count("| not measured: no change was told |") == len(others)
    assert Findings(scale=scale).has_faults


def test_calls_are_compared_round_by_round() -> None:
    rates = {BARE: [1000.0, 4000.0, 2000.0], CORE: [900.0, 2000.0, 1600.0]}
    rates[GUARDED] = [450.0, 1000.0, 1200.0]
    found = Rates(rates, {server: [100.0] * 3 for server in rates})

    report = render(Findings(compared={GET: found}), [], "")

    assert "| GetSession | 2,000 | 100 | 1,600 | 0.80 | 100 | 1,000 | 0.50 | 100 |" in report
    assert report.count("not measured") == len(TARGETS) - 2


def test_a_path_that_was_not_measured_under_churn_leaves_the_target_unmeasured() -> None:
    whole = Findings(churned=Churned({ONE: [0.5, 0.9, 1.5], PAGE: [1.0]}))
    part = Findings(churned=Churned({ONE: [0.9]}, {PAGE: "1 of 2\nfailed"}))

    assert "| one session | 0.90 |\n| page of 100 | 1.00 |" in render(whole, [], "")
    assert render(whole, [], "").count("not measured") == len(TARGETS) - 1
    assert "| page of 100 | not measured: 1 of 2 failed |" in render(part, [], "")
    assert render(part, [], "").count("not measured") == len(TARGETS) + 1
    assert part.has_faults
