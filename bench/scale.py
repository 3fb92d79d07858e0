"""The group ``scale``: what a core, a gateway and the command do with very many sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from subprocess import SubprocessError

import grpc

from bench import churning, copying, filtering, listing, one_step
from bench.measures import FULL, Found, Measure, Sizes
from bench.programs import BenchError

# Each part, and what it measures, in the order of the report.
_PARTS: Mapping[Callable[[Sizes], Found], Sequence[Measure]] = {
    one_step.measure: (one_step.TABLE, one_step.STORE),
    churning.many_sources: churning.MANY,
    churning.one_source: (*churning.ONE, churning.TOLD),
    copying.measure: (
        *(copying.READY, copying.COPY),
        *(copying.CORE, copying.WORKER, copying.WORKER_AFTER_ALL, copying.TURN),
    ),
    filtering.measure: (filtering.FEW, filtering.MANY, filtering.RATIO),
    listing.measure: (listing.LISTED,),
}
MEASURES = tuple(measure for measures in _PARTS.values() for measure in measures)


@dataclass(slots=True)
class Scale:
    """The findings at some sizes."""

    sizes: Sizes = FULL
    figures: dict[Measure, float] = field(default_factory=dict)
    faults: dict[Measure, str] = field(default_factory=dict)  # why it was not measured


def measure(sizes: Sizes, report: Callable[[str], None]) -> Scale:
    """Take all measures; one that cannot be taken is a fault, and the others go on."""
    scale = Scale(sizes)
    for part, measures in _PARTS.items():
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
