"""Decides what `serve` starts, from its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import typer

from sessiongate.gateway.cli.collisions import refuse_collisions
from sessiongate.gateway.cli.exposure import (
    Exposure,
    refuse_cleartext_secrets,
    refuse_open_listeners,
    refuse_proxied_actions,
    refuse_remote_actions,
)
from sessiongate.gateway.cli.groups import taking
from sessiongate.gateway.cli.origin import given_as_flag, is_given, origins, refuse
from sessiongate.gateway.limits import Limits
from sessiongate.gateway.settings import GatewayConfig, HttpSettings, UpstreamSettings
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.core_settings import (
    CoreSettings,
    FleetSettings,
    LedgerSettings,
    SourceSettings,
    SourceValue,
)
from sessiongate.runtime.core_tls import CoreTlsSettings
from sessiongate.runtime.limits import CoreLimits
from sessiongate.runtime.settings import given, settings_of
from sessiongate.runtime.telemetry.logs import LogSettings, escaped
from sessiongate.runtime.urls import Url, UrlError


@dataclass(frozen=True, slots=True)
class Plan:
    """The programs that `serve` starts, with their settings."""

    gateway: GatewayConfig
    core: Mapping[str, object] | None  # settings of its own core, if it has one
    sources: Sequence[str]  # for display


@taking
def plan_of(
    context: typer.Context,
    *,
    sources: SourceSettings,
    ledger: LedgerSettings,
    http: HttpSettings,
    core: CoreSettings,
    fleet: FleetSettings,
    exposure: Exposure,
    upstream: UpstreamSettings,
    protection: Protection,
    limits: Limits,
    core_limits: CoreLimits,
    logs: LogSettings,
) -> Plan:
    """Return what the settings ask for; refuse invalid ones."""
    of_core = (core, sources, ledger, fleet, core_limits)
    listeners = {"http": http.http, "metrics": http.metrics}
    if upstream.core is None:
        listeners |= {"grpc": core.grpc, "core_metrics": core.core_metrics}
        refuse_sources_of_front(context, fleet)
        if not fleet.fleet:
            refuse_flags(context, settings_of(CoreTlsSettings), "has no effect without --core")
    else:
        refused = [name for group in of_core for name in settings_of(type(group))]
        refuse_flags(context, refused, "has no effect with --core: serve then starts no core")
    if not exposure.insecure:
        refuse_open_listeners(context, listeners, protection, upstream.core_token_path)
        if upstream.core is not None:
            refuse_cleartext_secrets(context, upstream)
    refuse_remote_actions(context, listeners, protection)
    refuse_proxied_actions(context, http, protection)
    gateway = GatewayConfig(
        **vars(http), **vars(upstream), protection=protection, limits=limits, logs=logs
    )
    for name, text in gateway.troubles().items():
        refuse(context, text, name)
    refuse_collisions(context, listeners)
    own = None
    if upstream.core is None:
        own = {**given(*of_core, logs), "origins": core_origins(context)}
        if fleet.fleet:
            del own["source"]
    shown = [shown_source(source) for source in sources.source]
    if fleet.fleet:
        shown = ["those of all shards"]
    return Plan(gateway, own, shown)


def core_origins(context: typer.Context) -> dict[str, str]:
    """Return where the settings that only the core can judge come from."""
    return origins(
        context, *("source", "ledger", "grpc", "core_metrics", *settings_of(FleetSettings))
    )


def refuse_sources_of_front(context: typer.Context, fleet: FleetSettings) -> None:
    """Refuse sources of a core that reads none."""
    if fleet.fleet and is_given(context, "source"):
        refuse(context, "has no effect with --fleet: a front reads no sources", "source")


def shown_source(source: SourceValue) -> str:
    """Return a source for display: without user, password and options, except a name."""
    options = {"url": source} if isinstance(source, str) else source
    try:
        url = Url.parse(str(options["url"]))
    except UrlError:
        return "…"
    name = options.get("name") or url.options.get("name")
    return escaped(f"{name} ({url})" if name else str(url))


def refuse_flags(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Refuse flags that would have no effect."""
    for name in names:
        if given_as_flag(context, name):
            refuse(context, why, name)
