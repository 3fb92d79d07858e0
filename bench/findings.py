"""All findings of a run, and their comparison with the targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from bench.changes import INTERVAL, Recovery
from bench.churned import Churned
from bench.collecting import Cost
from bench.core_rpc import EMPTY, Figure
from bench.grpc_calls import BARE as BARE_GRPC
from bench.grpc_calls import CORE, GET, GUARDED, LIST, Rates
from bench.measures import FULL, Measure
from bench.paths import ALL, FULL_SIZE, NOT_MODIFIED, ONE, PAGE, paths_of
from bench.rounds import Cell, Figures
from bench.scale import MEASURES, Scale
from bench.stack import BARE, ENVOY, GATEWAY, GATEWAY_2, SECURED, Stage

STILL = Stage(FULL_SIZE)
CHURNING = Stage(FULL_SIZE, churning=True)
SMALL, LARGE = Stage(1_000), Stage(100_000)


@dataclass(slots=True)
class Findings:
    """The findings of a run; times are in seconds."""

    figures: Figures = field(default_factory=Figures)
    churned: Churned = field(default_factory=Churned)
    calls: Sequence[Figure] = ()  # of the core's gRPC service, the empty one first
    compared: Mapping[str, Rates] = field(default_factory=dict)  # by method, to a bare server
    delays: dict[Stage, list[float]] = field(default_factory=dict)  # from source to REST, sorted
    recoveries: Sequence[Recovery] = ()
    observations: Mapping[str, Cost] = field(default_factory=dict)  # by kind of source
    scale: Scale = field(default_factory=Scale)

    @property
    def has_faults(self) -> bool:
        """Whether something could not be measured."""
        return bool(self.figures.faults or self.churned.faults or self.scale.faults)

    def against(self, path: str, server: str, stage: Stage = STILL) -> float | None:
        """Return the ratio of the gateway's rate to another server's on the same path."""
        return _ratio(
            self.figures.rate(path, GATEWAY, stage), self.figures.rate(path, server, stage)
        )

    def doubled(self) -> dict[str, float]:
        """Return how many times as many answers two workers on two CPUs give as one, by path.

        It is computed from the CPU time of an answer, because clients share the CPUs here.
        """

        def cpu(path: str, server: str) -> float | None:
            return self.figures.median(Cell(path, server, STILL), lambda sample: sample.front)

        ratios = {
            path: _ratio(cpu(path, GATEWAY), cpu(path, GATEWAY_2)) for path in paths_of(STILL)
        }
        return {path: 2 * ratio for path, ratio in ratios.items() if ratio is not None}


@dataclass(frozen=True, slots=True)
class Target:
    """A target for a figure; ``measured`` returns None if it was not measured."""

    text: str
    bound: float
    unit: str
    measured: Callable[[Findings], float | None]
    at_most: bool = False

    def holds(self, measured: float) -> bool:
        return measured <= self.bound if self.at_most else measured >= self.bound


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of all does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _call(findings: Findings) -> float | None:
    rates = {figure.name: figure.rate for figure in findings.calls}
    return _ratio(rates.get("GetSession"), rates.get(EMPTY))


def _compared(findings: Findings, method: str, one: str, other: str) -> float | None:
    found = findings.compared.get(method)
    return None if found is None else found.ratio(one, other)


def _sizes(findings: Findings) -> float | None:
    rate = findings.figures.rate
    return _ratio(rate(PAGE, GATEWAY, LARGE), rate(PAGE, GATEWAY, SMALL))


def _not_modified(findings: Findings) -> float | None:
    rate = findings.figures.rate
    return _ratio(rate(NOT_MODIFIED, GATEWAY, STILL), rate(ONE, GATEWAY, STILL))


def _secured(findings: Findings) -> float | None:
    rate = findings.figures.rate
    return _ratio(rate(ONE, SECURED, STILL), rate(ONE, GATEWAY, STILL))


def _delay(findings: Findings) -> float | None:
    delays = findings.delays.get(STILL)
    return (percentile(delays, 0.99) - INTERVAL) * 1000 if delays else None


def _resident(findings: Findings) -> float | None:
    resident = findings.figures.memory(LARGE.sessions)
    return resident / LARGE.sessions / 1024 if resident is not None else None


def _slowest(values: Iterator[float]) -> float | None:
    return max(values, default=None)


def _at_scale() -> Iterator[Target]:
    """Yield the targets of the group ``scale``, which hold for its full sizes only."""

    def found(measure: Measure, findings: Findings) -> float | None:
        scale = findings.scale
        return scale.figures.get(measure) if scale.sizes == FULL else None

    for measure in MEASURES:
        if (bound := measure.bound) is not None:
            text, at_most = measure.at(FULL), measure.at_most
            yield Target(text, bound, measure.unit, partial(found, measure), at_most)


TARGETS = (
    Target(
        "one session, one worker, to Envoy on the same core", 8, "", lambda f: f.against(ONE, ENVOY)
    ),
    Target(
        "one session, one worker, to the bare ASGI server sending the same bytes",
        0.7,
        "",
        lambda f: f.against(ONE, BARE),
    ),
    Target(
        "304, to the bare ASGI server's 304 with the same headers",
        0.7,
        "",
        lambda f: f.against(NOT_MODIFIED, BARE),
    ),
    Target("one session with Basic and metrics, to without", 0.85, "", _secured),
    Target(
        "page of 100 of 10,000, to the bare ASGI server",
        0.85,
        "",
        lambda f: f.against(PAGE, BARE),
    ),
    Target("all of 100,000, to Envoy", 12, "", lambda f: f.against(ALL, ENVOY, LARGE)),
    Target("304 by ETag, to one session", 1.0, "", _not_modified),
    Target("all of 10,000, to Envoy", 12, "", lambda f: f.against(ALL, ENVOY)),
    Target(
        "all of 10,000, to the same server sending the same bytes from memory",
        0.6,
        "",
        lambda f: f.against(ALL, BARE),
    ),
    Target("page of 100 of 100,000, to page of 100 of 1,000", 0.8, "", _sizes),
    Target("gRPC GetSession, to an empty unary RPC in the same process", 0.85, "", _call),
    Target(
        "gRPC GetSession, to an empty method of a bare server in a process of its own",
        0.8,
        "",
        lambda f: _compared(f, GET, CORE, BARE_GRPC),
    ),
    Target(
        "gRPC ListSessions of 100, likewise",
        0.6,
        "",
        lambda f: _compared(f, LIST, CORE, BARE_GRPC),
    ),
    Target(
        "gRPC GetSession with credentials, metrics and call log, to without",
        0.85,
        "",
        lambda f: _compared(f, GET, GUARDED, CORE),
    ),
    Target(
        "gRPC ListSessions of 100, likewise to without",
        0.85,
        "",
        lambda f: _compared(f, LIST, GUARDED, CORE),
    ),
    Target(
        "same numbers under 5% churn a second, to those without (the least of them)",
        0.9,
        "",
        lambda f: f.churned.least(),
    ),
    Target(
        "change at the source to REST, beyond the source's own interval, p99",
        50,
        "ms",
        _delay,
        True,
    ),
    Target(
        "resident memory of one gateway worker, per session at 100,000",
        2.5,
        "KiB",
        _resident,
        True,
    ),
    Target(
        "recovery after the core's return, the slowest",
        2000,
        "ms",
        lambda f: _slowest(each.since_listening * 1000 for each in f.recoveries),
        True,
    ),
    Target(
        "CPU of an observation of 10,000 unchanged sessions, the costliest kind",
        40,
        "ms",
        lambda f: _slowest(cost.unchanged * 1000 for cost in f.observations.values()),
        True,
    ),
    *_at_scale(),
)
