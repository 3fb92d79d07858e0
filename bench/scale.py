"""The groups ``scale``, ``history``, ``fleet`` and ``page``: what very many sessions take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from subprocess import SubprocessError
from typing import TypeAlias

import grpc

from bench import (
    churning,
    copying,
    filtering,
    fleet,
    fleet_load,
    history,
    history_postgresql,
    listing,
    one_step,
    page,
)
from bench.measures import FULL, Found, Measure, Sizes
from bench.programs import BenchError

_Parts: TypeAlias = Mapping[Callable[[Sizes], Found], Sequence[Measure]]

# Each part of a group, and what it measures, in the order of the report.
GROUPS: Mapping[str, _Parts] = {
    "scale": {
        one_step.measure: (one_step.TABLE, one_step.STORE),
        churning.many_sources: churning.MANY,
        churning.one_source: (*churning.ONE, churning.TOLD),
        copying.measure: (
            *(copying.READY, copying.COPY),
            *(copying.CORE, copying.WORKER, copying.WORKER_AFTER_ALL, copying.TURN),
        ),
        filtering.measure: (filtering.FEW, filtering.MANY, filtering.RATIO),
        listing.measure: (listing.LISTED,),
    },
    "history": {
        history.recording: (history.RECORD, history.RECORD_ANY),
        history.cpu: (history.CPU,),
        history.many: (
            *(history.BYTES, history.START, history.MOMENT, history.MOMENT_USER),
            *(history.ONE, history.WAIT, history.ALONE, history.RATE),
        ),
        history_postgresql.in_postgresql: (
            *(history_postgresql.RECORD, history_postgresql.MOMENT, history_postgresql.ONE),
            *(history_postgresql.WAIT, history_postgresql.ALONE),
        ),
    },
    "fleet": {
        fleet.measure: fleet.MEASURES,
        fleet_load.busy: fleet_load.BUSY,
        fleet_load.read: fleet_load.READ,
    },
    "page": {page.measure: page.MEASURES},
}
MEASURES = tuple(
    measure for parts in GROUPS.values() for measures in parts.values() for measure in measures
)


@dataclass(slots=True)
class Scale:
    """The findings at some sizes."""

    sizes: Sizes = FULL
    figures: dict[Measure, float] = field(default_factory=dict)
    faults: dict[Measure, str] = field(default_factory=dict)  # why it was not measured


def measure(groups: Iterable[str], sizes: Sizes, report: Callable[[str], None]) -> Scale:
    """Take the groups' measures; one that cannot be taken is a fault, and the others go on."""
    scale = Scale(sizes)
    parts = (part for group in groups for part in GROUPS[group].items())
    for part, measures in parts:
        report(f"  {measures[0].at(sizes)} …")
        try:
            for taken, value in part(sizes):
                scale.figures[taken] = value
                report(f"  {taken.at(sizes)}: {value:.3g} {taken.unit}")
        except (BenchError, OSError, SubprocessError, grpc.RpcError) as error:
            why = str(error.details()) if isinstance(error, grpc.Call) else str(error)
            missing = [each for each in measures if each not in scale.figures]
            scale.faults.update(dict.fromkeys(missing, why))
            report(f"  not measured: {why}")
    return scale
