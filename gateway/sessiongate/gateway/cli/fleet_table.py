"""A fleet as people at a terminal read it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from sessiongate.gateway.cli.columns import Columns
from sessiongate.gateway.cli.tables import print_notes, print_rows
from sessiongate.gateway.cli.texts import output_width, plain, time_text
from sessiongate.v1.fleet_service_pb2 import FleetCore, ListShardsResponse, Shard, ShardState

_HEARD = {
    ShardState.SHARD_STATE_PENDING: "not yet",
    ShardState.SHARD_STATE_HEARD: "yes",
    ShardState.SHARD_STATE_SILENT: "no",
    ShardState.SHARD_STATE_IDLE: "no",
}
_OLD = 5.0  # seconds after which it matters when the ledger was read


def print_fleet(fleet: ListShardsResponse) -> None:
    """Print a line for each core and front, and what is wrong on standard error."""
    columns = Columns("Shard", "Name", "Is", "Since", "Heard", "Address", room=output_width())
    print_rows(columns, _rows(fleet))
    print_notes(_notes(fleet))


def _rows(fleet: ListShardsResponse) -> Iterator[Sequence[str]]:
    for shard in fleet.shards:
        if shard.HasField("active"):
            yield _cells(shard.name, shard.active, "active", _HEARD.get(shard.state, "?"))
        else:
            yield (plain(shard.name), "", "no active core", "", "", "")
        for core in shard.standbys:
            yield _cells(shard.name, core, "stands by")
    for front in fleet.fronts:
        yield _cells("", front, "front")
    for core in fleet.ended:
        yield _cells(core.shard, core, "ended")


def _cells(shard: str, core: FleetCore, role: str, heard: str = "") -> Sequence[str]:
    since = ""
    if core.HasField("since_time") and role != "ended":  # of those it is not known
        since = time_text(core.since_time)
    return (plain(shard), plain(core.name), role, since, heard, plain(core.address))


def _notes(fleet: ListShardsResponse) -> Iterator[str]:
    for shard in fleet.shards:
        for trouble in _troubles(shard):
            yield plain(f"shard {shard.name}: {trouble}")
    if fleet.trouble:
        yield plain(fleet.trouble)
    if not fleet.HasField("read_time") or time.time() - fleet.read_time.seconds > _OLD:
        when = time_text(fleet.read_time) if fleet.HasField("read_time") else "never"
        yield f"the ledger cannot be read now: this is as of {when}"


def _troubles(shard: Shard) -> Iterable[str]:
    if shard.trouble:
        yield shard.trouble
    if shard.HasField("active") and not shard.standbys:
        yield "no core stands by"
    if shard.active.HasField("clock_off"):
        yield f"the clock of {_clock(shard.active)}: it goes on, and sessions' times are wrong"
    for core in shard.standbys:
        if core.HasField("clock_off"):
            yield f"the clock of {_clock(core)}: it does not take over until they agree"
        if core.unreadable:
            yield f"{core.name}, which stands by, cannot read: {', '.join(core.unreadable)}"


def _clock(core: FleetCore) -> str:
    off = core.clock_off.ToMilliseconds() / 1000
    way = "ahead of" if off > 0 else "behind"
    return f"{core.name} is {abs(off):.1f} s {way} that of the ledger's server"
