"""The fleet as a front knows it: the members by the ledger, and the cores that it hears."""

from __future__ import annotations

from collections.abc import Iterable

from sessiongate.core.fleet.clock import is_wrong
from sessiongate.core.fleet.directory import Fleet, FleetMember, FleetShard
from sessiongate.core.follow.front import Front
from sessiongate.core.follow.shard import FollowedShard
from sessiongate.v1.fleet_service_pb2 import FleetCore, ListShardsResponse, Shard, ShardState


class FleetState:
    """The fleet that `note` was last given, and how its cores are followed."""

    def __init__(self, name: str, front: Front) -> None:
        """``name`` is this front's."""
        self._name = name
        self._front = front
        self._fleet = Fleet((), ())
        self.trouble = ""  # what is wrong with the ledger
        self._read_at = 0  # in ns since the epoch

    def note(self, fleet: Fleet, now: int) -> None:
        """Take over who is in the fleet, as it was read at a time."""
        self._fleet, self._read_at = fleet, now

    def message(self) -> ListShardsResponse:
        """Return it as the contract has it."""
        fleet = self._fleet
        answer = ListShardsResponse(
            shards=map(self._shard, fleet.used_shards),
            fronts=_cores(one for one in fleet.members if one.is_running and one.kind == "front"),
            ended=_cores(one for one in fleet.members if not one.is_running),
            front=self._name,
            trouble=self.trouble,
        )
        if self._read_at:
            answer.read_time.FromNanoseconds(self._read_at)
        return answer

    def _shard(self, shard: FleetShard) -> Shard:
        followed = self._front.shards.get(shard.name)
        found = Shard(
            name=shard.name,
            standbys=map(_standby, self._fleet.standing_by(shard)),
            state=_state(shard, followed),
        )
        if (active := shard.active) is not None:
            members = {member.name: member for member in self._fleet.members}
            core = FleetCore(name=active.name, address=active.address or "", shard=shard.name)
            if (member := members.get(active.name)) is not None:
                core.host, core.version = member.host, member.version
                _add_clock(core, member)
            if active.since is not None:
                core.since_time.FromDatetime(active.since)
            found.active.CopyFrom(core)
        if followed is not None:
            found.trouble = followed.trouble
            found.sources.extend(sorted(followed.shown.sources))
            found.state_time.FromNanoseconds(followed.state_since)
            if names := self._front.conflicts(shard.name):
                shown = ", ".join(map(repr, names))
                text = f"other shards have sources of the same names, which are shown: {shown}"
                found.trouble = f"{found.trouble}; {text}" if found.trouble else text
        return found


def _state(shard: FleetShard, followed: FollowedShard | None) -> ShardState:
    if followed is None or not followed.is_settled.is_set():
        return ShardState.SHARD_STATE_PENDING
    if followed.is_heard:
        return ShardState.SHARD_STATE_HEARD
    if shard.active is None:
        return ShardState.SHARD_STATE_IDLE
    return ShardState.SHARD_STATE_SILENT


def _standby(member: FleetMember) -> FleetCore:
    core = _core(member)
    if member.observed is not None:
        core.observe_time.FromDatetime(member.observed)
    core.unreadable.extend(sorted(member.unreadable or ()))
    _add_clock(core, member)
    return core


def _add_clock(core: FleetCore, member: FleetMember) -> None:
    if member.clock_off is not None and is_wrong(member.clock_off):
        core.clock_off.FromMilliseconds(round(member.clock_off * 1000))


def _cores(members: Iterable[FleetMember]) -> list[FleetCore]:
    return [_core(member) for member in members]


def _core(member: FleetMember) -> FleetCore:
    core = FleetCore(
        name=member.name,
        address=member.address or "",
        host=member.host,
        version=member.version,
        shard=member.shard or "",
    )
    core.since_time.FromDatetime(member.started)
    return core
