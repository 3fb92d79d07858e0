"""Whether a source is read from the reader's own machine, and so is another one at each core."""

from __future__ import annotations

from dataclasses import replace

from sessiongate.core.sources.base import SourceConfig
from sessiongate.runtime.addresses import parse_ip, split_host

_EVERYWHERE = ("document", "synthetic")  # kinds whose content does not depend on the machine
_HERE = ("host",)


def is_of_this_machine(config: SourceConfig) -> bool:
    """Return whether other machines' cores would read something else there.

    That is what a machine's kernel, its Unix sockets and its loopback addresses lead to.
    """
    if config.kind in _EVERYWHERE:
        return False
    if config.kind in _HERE or not config.location.startswith("//"):
        return True
    place = config.location.removeprefix("//").partition("/")[0].rpartition("@")[2]
    if not place or place.lower().startswith("%2f"):
        return True
    host = (split_host(place) or (place, None))[0]
    ip = parse_ip(host)
    return host.lower() == "localhost" if ip is None else ip.is_loopback


def named_at(config: SourceConfig, core: str) -> SourceConfig:
    """Return a source as a core of a shard names it: one of its own machine is NAME@CORE.

    One that is ``shared`` is the same at all cores of the shard, as the operator says.
    """
    if config.shared or not is_of_this_machine(config):
        return config
    return replace(config, name=f"{config.name}@{core}")
