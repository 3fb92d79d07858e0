"""The report: Markdown, as `make bench` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from bench.changes import INTERVAL
from bench.churned import Churned
from bench.core_rpc import EMPTY
from bench.filtering import EACH
from bench.findings import CHURNING, STILL, TARGETS, Findings, percentile
from bench.grpc_calls import BARE, CALLS, CORE, GUARDED, NAMES, STARTS
from bench.grpc_calls import CONNECTIONS as GRPC_CONNECTIONS
from bench.history import HISTORY_ASKED, HISTORY_TIMES
from bench.load import CONNECTIONS, LARGE_CONNECTIONS, LARGE_SECONDS
from bench.paths import ALL, FILTERED, NOT_MODIFIED, ONE, PAGE, servers_of
from bench.rounds import Cell
from bench.scale import MEASURES, Scale
from bench.stack import GATEWAY

_NAMES = {
    ONE: "one session",
    NOT_MODIFIED: "304 of one session",
    PAGE: "page of 100",
    FILTERED: "page of 100, filtered by user",
    ALL: "all",
}

_METHOD = f"""\
## How it is measured

Each round starts a core, the gateway (`sessiongate serve --core`, with one worker and with
two) and Envoy in front of it, again for each number of sessions, and loads one server after
the other on each path. Figures are the medians of the rounds. Before a path is measured every
server has to answer it once with the right status and the right sessions, the gateway all of them
from its copy; the bare server has
to send the gateway's very bytes. An error under load, or an answer of another size, discards
the figure.

Load is wrk's, one thread and {CONNECTIONS} connections ({LARGE_CONNECTIONS}, for {LARGE_SECONDS}
times as long, if an answer is larger than 1 MiB). Load and servers share the machine's CPUs.
Envoy answers the whole list in pages, as many as the core gives for `page_size` 10000; its rate
counts whole lists, its latency is that of the pages one after another. CPU is that of the server's
processes and, behind it, the core's. All sessions but one are synthetic; the one that single
requests ask for is a document's, so that churn does not take it away. With churn 5 % of the
sessions are replaced each second. The ratio of the gateway's rate with churn to that without is of
two gateways that run at once, each in front of a core of its own: they are loaded in turn, without,
with, with, without, in each round, and those under churn are stopped while the others are loaded.
It is the median of the ratios of a load to the one before or after. Two workers, whose clients need
a CPU too, would show what they can do on three CPUs only. So it is computed: each answers as many
requests as one worker does alone, times the CPU time of its answers, by that of theirs.

The core's calls and those of a bare server (grpc.aio on uvloop, an empty method whose response is
as large): load is h2load's, one thread, {GRPC_CONNECTIONS} connections of {CALLS} calls each. Load
and one server at a time share the CPUs. Each server is started {STARTS} times, because programs
that are started alike differ, and the order in which they are loaded alternates. Guarded is a core
with a password, which it has checked before, with metrics and with the call log, in a file. Ratios
are the medians of the rounds' ratios.

From source to REST: a document that is a source with an interval of {INTERVAL * 1000:g} ms is
replaced by another, and one connection asks for its session until it shows the new one.
Recovery: the core that `sessiongate serve` started is killed (SIGKILL) and the document
replaced while it is dead; recovered is who answers with the new one. An observation: CPU time
of a real collector over recorded answers: of the first one, and of those in which only ages
grew; taking rows off a database driver's connection is not in it.

At scale: sessions are those of synthetic sources with an interval of a second, and the one that
stays. A step is applied in a process that does nothing else, and the median of many is shown.
Programs are measured from when the core lists all its sessions; under churn, from when it lists
most and its sources are current, or a minute later if it does not keep up. A process of its own
then asks a core, whose ledger is in a file, for the session that stays. A change waits from when
the source replaced a session until a watcher has the message that brings its copy to the next
state, so up to a second of it is the source's interval; so does a copy that lacks a session, or
has one too many. A gateway is ready once `/readyz` says so and its copy has all sessions, as its
metrics show; the CPU of the copy is the worker's since it listens. Pages of one user, who has
about {EACH} sessions in both tables, are requested from two gateways by turns, a few users' after
each change of the table. The longest turn of a loop is the most CPU that it took while a timer was
due, since its start: it may be two turns in a row, so it is an upper bound and has no target.

History: records are timed as the collector waits for them, in a file on the machine's disk. CPU is
the core's, while {HISTORY_TIMES} pairs of cores run by turns, with history and without. Past
sessions that are asked for ended evenly over 29 days and lasted from 0.1 s to 10 days, evenly by
order of magnitude; each question is asked of {HISTORY_ASKED} moments or ids, after their file was
written, and the longest answer is shown. While old ones are dropped, as a core does it, a session
is written 50 times a second at most. PostgreSQL is Debian's, with fsync and synchronous_commit on,
and shares the disk and the CPUs; all hours but the one that is asked about have few sessions.

A fleet: two cores with the same sources share a ledger in PostgreSQL and take over from each other
in turn; a front is asked up to 50 times a second. A take-over lasts from when the active core
failed until the front shows all sessions as the other core reads them. Stopped within COPY: the
core has begun to send rows, and the server waits for them. Under load, three cores, each with a
shard and a synthetic source, and a front share the ledger; how much later than by its core a
watcher is told of a new session is measured by one process, which reads all. `--fleet-seconds`
says for how long. All programs share the CPUs.

The page: Chromium without a window shows it, 1600 x 1000 pixels large, and shares the CPUs with the
service. Tasks are those of Chromium's Long Tasks API, which reports none below 50 ms; frames are
those of `requestAnimationFrame`; the heap is `JSHeapUsedSize` after garbage was collected.
"""


def render(findings: Findings, facts: Sequence[tuple[str, str]], rounds: str) -> str:
    """Render the report. ``facts`` are versions and machine; ``rounds`` says how many of what."""
    parts = [
        "# What `make bench` measured\n\nWritten by `make bench`; not by hand.\n",
        _table(("", ""), facts),
        "## Targets\n",
        _table(("", "target", "measured", "holds"), _targets(findings)),
        f"## Answers a second\n\n{rounds}\n",
        *_loads(findings),
        *_others(findings),
        _METHOD,
    ]
    return "\n".join(parts)


def _targets(findings: Findings) -> Iterator[Sequence[str]]:
    for target in TARGETS:
        bound = f"at {'most' if target.at_most else 'least'} {target.bound:g} {target.unit}".strip()
        measured = target.measured(findings)
        if measured is None:
            yield target.text, bound, "not measured", ""
        else:
            holds = "yes" if target.holds(measured) else "**no**"
            yield target.text, bound, f"{measured:.3g} {target.unit}".strip(), holds


def _loads(findings: Findings) -> Iterator[str]:
    figures = findings.figures
    cells = sorted({*figures.samples, *figures.faults}, key=_place)
    for stage in dict.fromkeys(cell.stage for cell in cells):
        churn = "; 5 % replaced each second" if stage.churning else ""
        yield f"### {stage.sessions:,} sessions{churn}\n"
        titles = ("path", "server", "answers/s", "gateway to it", "p50 ms", "p99 ms")
        rows = (_row(findings, cell) for cell in cells if cell.stage == stage)
        yield _table((*titles, "CPU us", "of the core's", "bytes"), rows)


def _place(cell: Cell) -> tuple[int, bool, int, int]:
    stage = cell.stage
    servers = servers_of(cell.path, stage)
    return (
        *(stage.sessions, stage.churning),
        *(list(_NAMES).index(cell.path), servers.index(cell.server)),
    )


def _row(findings: Findings, cell: Cell) -> Sequence[str]:
    figures = findings.figures
    names = (_NAMES[cell.path], cell.server)
    rate = figures.rate(cell.path, cell.server, cell.stage)
    if rate is None:
        return (*names, f"not measured: {_excerpt(figures.faults[cell])}", *[""] * 6)
    own = figures.rate(cell.path, GATEWAY, cell.stage)
    ratio = f"{own / rate:.2f}" if own is not None and cell.server != GATEWAY else ""
    p50 = figures.median(cell, lambda sample: sample.load.p50 * 1e3)
    p99 = figures.median(cell, lambda sample: sample.load.p99 * 1e3)
    front = figures.median(cell, lambda sample: sample.front * 1e6)
    core = figures.median(cell, lambda sample: sample.core * 1e6)
    numbers = (f"{number:,.2f}" for number in (p50, p99) if number is not None)
    cpus = (f"{number:,.0f}" for number in (front, core) if number is not None)
    shown = f"{rate:,.0f}" if rate > 100 else f"{rate:,.1f}"
    return (*names, shown, ratio, *numbers, *cpus, f"{figures.lengths[cell]:,}")


def _others(findings: Findings) -> Iterator[str]:
    if findings.churned.ratios or findings.churned.faults:
        yield f"## The gateway under churn, to another without, at {CHURNING.sessions:,}\n"
        yield _table(("path", "ratio"), _churned(findings.churned))
    if doubled := findings.doubled():
        yield f"## Two workers on two CPUs, to one on one, at {STILL.sessions:,}\n"
        rows = ((_NAMES[path], f"{ratio:.2f}") for path, ratio in doubled.items())
        yield _table(("path", "ratio"), rows)
    if findings.calls:
        empty = next(figure.rate for figure in findings.calls if figure.name == EMPTY)
        yield "## The core's gRPC service, one process\n"
        calls = (
            (call.name, f"{call.rate:,.0f}", f"{call.rate / empty:.2f}", f"{call.cpu:,.0f}")
            for call in findings.calls
        )
        yield _table(("call", "a second", "to the empty one", "CPU us"), calls)
    if findings.compared:
        yield "## The core's gRPC service and a bare server, a process each\n"
        plain = ("call", "bare, a second", "CPU us", "core, a second", "to bare", "CPU us")
        guarded = ("guarded, a second", "to core", "CPU us")
        yield _table((*plain, *guarded), _compared(findings))
    if findings.figures.resident:
        yield "## Resident memory of a gateway's worker, after the load\n"
        yield _table(("sessions", "MiB", "KiB a session"), _memory(findings))
    if findings.delays:
        yield "## From a change at the source to REST\n"
        titles = ("sessions", "changes", "p50 ms", "p99 ms", "longest ms")
        yield _table(titles, _delays(findings))
    if findings.recoveries:
        yield "## From a core's death to right answers\n"
        rows = (
            (f"{each.since_listening * 1e3:,.0f}", f"{each.since_killed * 1e3:,.0f}")
            for each in findings.recoveries
        )
        yield _table(("ms since the new core listens", "ms since the old was killed"), rows)
    if findings.observations:
        yield "## CPU of an observation of 10,000 sessions\n"
        costs = (
            (kind, f"{cost.first * 1e3:.0f}", f"{cost.unchanged * 1e3:.1f}")
            for kind, cost in findings.observations.items()
        )
        yield _table(("source", "ms, the first", "ms, unchanged"), costs)
    if findings.scale.figures or findings.scale.faults:
        yield "## At scale\n"
        yield _table(("", "measured"), _scale(findings.scale))


def _churned(churned: Churned) -> Iterator[Sequence[str]]:
    for path, ratio in churned.medians().items():
        yield _NAMES[path], f"{ratio:.2f}"
    for path, fault in churned.faults.items():
        yield _NAMES[path], f"not measured: {_excerpt(fault)}"


def _compared(findings: Findings) -> Iterator[Sequence[str]]:
    for method, found in findings.compared.items():
        shown = [f"{found.rate(BARE):,.0f}", f"{found.cpu(BARE):,.0f}"]
        for server, other in ((CORE, BARE), (GUARDED, CORE)):
            ratio = f"{found.ratio(server, other):.2f}"
            shown += f"{found.rate(server):,.0f}", ratio, f"{found.cpu(server):,.0f}"
        yield NAMES[method], *shown


def _memory(findings: Findings) -> Iterator[Sequence[str]]:
    for sessions, resident in sorted(findings.figures.resident.items()):
        found = median(resident)
        each = found / sessions / 1024
        yield f"{sessions:,}", f"{found / 1024**2:.0f}", f"{each:.2f}"


def _delays(findings: Findings) -> Iterator[Sequence[str]]:
    for stage, delays in findings.delays.items():
        values = (percentile(delays, 0.5), percentile(delays, 0.99), delays[-1])
        yield stage.name, str(len(delays)), *(f"{value * 1e3:.1f}" for value in values)


def _scale(scale: Scale) -> Iterator[Sequence[str]]:
    for measure in MEASURES:
        found = scale.figures.get(measure)
        if found is None and measure not in scale.faults:
            continue  # of a group that was not selected
        if found is None:
            shown = f"not measured: {_excerpt(scale.faults[measure])}"
        else:
            shown = (
                f"{found:,.3g} {measure.unit}" if found < 100 else f"{found:,.0f} {measure.unit}"
            )
        yield measure.at(scale.sizes), shown.strip()


def _excerpt(fault: str) -> str:
    return " ".join(fault.split())[:200]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
