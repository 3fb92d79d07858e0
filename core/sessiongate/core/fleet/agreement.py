"""Finds what the cores of a fleet are not configured alike in: it would show at a take-over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sessiongate.core.sources.base import DEFAULT_MAX_SESSIONS, SourceConfig
from sessiongate.core.sources.locality import is_of_this_machine

# Options that decide which sessions there are, who they are, and what is known of them. Others may
# differ between machines, such as the path of a file, or be secret.
_OPTIONS = ("include_self", "links", "seed", "sessions", "statements", "timezone", "users")


def stated_place(source: SourceConfig, host: str) -> str:
    """Return where and how a source is read, as the core on a ``host`` states it to the others."""
    place = source.place
    if not source.shared and is_of_this_machine(source):
        place = f"{place} at {host}"
    options = {
        name: value
        for name, value in source.options.items()
        if name in _OPTIONS and value != "false"  # as if it were not given
    }
    if source.max_sessions != DEFAULT_MAX_SESSIONS:
        options["max_sessions"] = str(source.max_sessions)
    if source.actions:
        options["actions"] = ",".join(sorted(source.actions))
    shown = "&".join(f"{name}={value}" for name, value in sorted(options.items()))
    return f"{place}?{shown}" if shown else place


class MemberSources(NamedTuple):
    """The sources of a running core, as it states them: the `stated_place` of each, by name."""

    core: str
    shard: str | None
    places: Mapping[str, str]


def disagreements(mine: MemberSources, others: Iterable[MemberSources]) -> Iterator[str]:
    """Yield in words what other cores do not have as this one has it."""
    for other in others:
        if other.core == mine.core:
            continue
        if other.shard == mine.shard:
            yield from _in_shard(mine, other)
        else:
            for name, place in mine.places.items():
                for others_name, others_place in other.places.items():
                    server = place.partition("?")[0]
                    if server == others_place.partition("?")[0]:
                        yield (
                            f"the source {name} is read from {server}, which {other.core} reads as"
                            f" {others_name} in the shard {other.shard}: sessions are listed twice"
                        )


def _in_shard(mine: MemberSources, other: MemberSources) -> Iterator[str]:
    for name in sorted(mine.places.keys() | other.places.keys()):
        if name.endswith((f"@{mine.core}", f"@{other.core}")):
            continue  # of one core's own machine
        here, there = mine.places.get(name), other.places.get(name)
        if there is None:
            yield f"{other.core} of this shard has no source {name}: its sessions would end there"
        elif here is None:
            yield f"this core has no source {name}, which {other.core} of this shard has"
        elif here != there:
            yield f"the source {name} is {here} at this core, and {there} at {other.core}"
