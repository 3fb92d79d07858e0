"""``python -m bench``: all benchmarks side by side, in one run; run by ``make bench``.

Without options it writes ``bench/RESULTS.md``; with any option, it prints the report. It
exits with 1 if something could not be measured, and with 2 if a tool is missing.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from bench import changes, churned, collecting, core_rpc, grpc_calls, rounds, scale, surroundings
from bench.findings import CHURNING, STILL, Findings
from bench.measures import FULL, QUICK
from bench.paths import PATHS
from bench.programs import BenchError
from bench.report import render

RESULTS = Path(__file__).with_name("RESULTS.md")
EVERYTHING = (*PATHS, "grpc", "freshness", "recovery", "sources", *scale.GROUPS)

ROUNDS = 3
SECONDS = 2  # of load on each server, path and number of sessions
CHANGES = 300
DEATHS = 3


def main() -> int:
    """Run the selected benchmarks; return the exit code."""
    options = _options()
    for advice in surroundings.missing():
        print(advice, file=sys.stderr)
    if surroundings.missing():
        return 2
    facts = list(surroundings.facts())
    findings = Findings()
    try:
        _measure(options, findings)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    loaded = f"Medians of {options.rounds} rounds, {options.seconds} seconds each."
    report = render(findings, facts, loaded)
    if len(sys.argv) == 1:
        RESULTS.write_text(report)
        print(f"written: {RESULTS.relative_to(Path.cwd())}")
    else:
        print(report)
    return 1 if findings.has_faults else 0


def _measure(options: argparse.Namespace, findings: Findings) -> None:
    paths = [path for path in PATHS if path in options.only]
    plan = rounds.Plan(rounds.STAGES, paths, options.seconds)
    for number in range(1, options.rounds + 1 if paths else 1):
        _say(f"round {number} of {options.rounds}")
        rounds.measure(plan, findings.figures, _say)
    if paths:
        _say("with churn, to without")
        findings.churned = churned.measure(CHURNING, paths, options.rounds, options.seconds, _say)
    if "grpc" in options.only:
        _say("gRPC")
        findings.calls = core_rpc.measure(2 * options.rounds - 1, options.seconds / 2)
        findings.compared = grpc_calls.measure(2 * options.rounds - 1, max(1, options.seconds // 2))
    for stage in (STILL, CHURNING) if "freshness" in options.only else ():
        _say(f"from source to REST, {stage.name} sessions")
        findings.delays[stage] = changes.freshness(stage, options.changes)
    if "recovery" in options.only:
        _say("recovery")
        findings.recoveries = changes.recovery(STILL, DEATHS)
    if "sources" in options.only:
        _say("sources")
        findings.observations = collecting.measure()
    groups = [name for name in scale.GROUPS if name in options.only]
    if groups:
        _say(", ".join(groups))
        findings.scale = scale.measure(groups, options.sizes, _say)


def _say(line: str) -> None:
    print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--changes", type=int, default=CHANGES, help="at the source, to be seen")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"one round, of a second each; at scale {QUICK.table:,} sessions",
    )
    parser.add_argument("--only", type=_some, default=EVERYTHING, help=f"of {','.join(EVERYTHING)}")
    parser.add_argument("--fleet-seconds", type=int, help="of load on a fleet")
    options = parser.parse_args()
    options.sizes = QUICK if options.quick else FULL
    if options.fleet_seconds:
        options.sizes = replace(options.sizes, load=options.fleet_seconds)
    if options.quick:
        options.rounds, options.seconds, options.changes = 1, 1, 50
    return options


def _some(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in EVERYTHING:
            raise argparse.ArgumentTypeError(
                f"must be one of {', '.join(EVERYTHING)}, got {name!r}"
            )
    return names


if __name__ == "__main__":
    sys.exit(main())
