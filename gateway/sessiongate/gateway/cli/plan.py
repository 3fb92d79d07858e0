"""What `serve` starts, according to its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import typer

from sessiongate.gateway.cli.collisions import refuse_collisions
from sessiongate.gateway.cli.exposure import refuse_cleartext_token, refuse_open_listener
from sessiongate.gateway.cli.groups import taking
from sessiongate.gateway.cli.options import (
    AllowedHostsOption,
    ConfigOption,
    CoreGrpcOption,
    CoreMetricsOption,
    CoreTimeoutOption,
    CoreTokenFileOption,
    HttpOption,
    InsecureOption,
    LedgerOption,
    MetricsOption,
    OtherCoreOption,
    PublicUrlOption,
    ReflectionOption,
    ReplicaStalenessOption,
    ReplicaUseOption,
    SourcesOption,
    StaleAfterOption,
    TrustedProxiesOption,
    WorkersOption,
)
from sessiongate.gateway.cli.origin import given_as_flag, origins, refuse, refuse_by
from sessiongate.gateway.cli.values import SourceSetting
from sessiongate.gateway.limits import Limits
from sessiongate.gateway.settings import (
    DEFAULT_CORE,
    DEFAULT_CORE_TIMEOUT,
    DEFAULT_HTTP,
    DEFAULT_REPLICA_STALENESS,
    DEFAULT_WORKERS,
    GatewayConfig,
)
from sessiongate.gateway.upstream.trust import CoreTls
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.limits import DEFAULT_STALE_AFTER, CoreLimits
from sessiongate.runtime.telemetry.logs import LogSettings


@dataclass(frozen=True, slots=True)
class Plan:
    """What `serve` starts."""

    gateway: GatewayConfig
    core: Mapping[str, object] | None  # settings of its own core, if it has one
    sources: Sequence[SourceSetting]


@taking(
    protection=Protection,
    core_trust=CoreTls,
    limits=Limits,
    core_limits=CoreLimits,
    logs=LogSettings,
)
def plan_of(
    context: typer.Context,
    *,
    http: HttpOption = DEFAULT_HTTP,
    grpc: CoreGrpcOption = DEFAULT_CORE,
    source: SourcesOption,
    ledger: LedgerOption,
    stale_after: StaleAfterOption = DEFAULT_STALE_AFTER,
    core: OtherCoreOption = None,
    core_timeout: CoreTimeoutOption = DEFAULT_CORE_TIMEOUT,
    public_url: PublicUrlOption = None,
    allowed_host: AllowedHostsOption = None,
    replica: ReplicaUseOption = "on",
    replica_staleness: ReplicaStalenessOption = DEFAULT_REPLICA_STALENESS,
    workers: WorkersOption = DEFAULT_WORKERS,
    protection: Protection,
    core_token_file: CoreTokenFileOption = None,
    core_trust: CoreTls,
    reflection: ReflectionOption = "on",
    trusted_proxies: TrustedProxiesOption = None,
    metrics: MetricsOption = None,
    core_metrics: CoreMetricsOption = None,
    limits: Limits,
    core_limits: CoreLimits,
    logs: LogSettings,
    insecure: InsecureOption = False,
    config: ConfigOption = None,
) -> Plan:
    """Return what the settings ask for; refuse what is wrong with them."""
    settings = core_settings(
        grpc, source, ledger, stale_after, reflection, core_metrics, core_limits
    )
    if not insecure:
        for name, address in (("http", http), ("metrics", metrics), ("core_metrics", core_metrics)):
            refuse_open_listener(context, name, address, protection.tls, protection.credentials())
        if core is None:
            guards = protection.credentials(core_token_file)
            refuse_open_listener(context, "grpc", grpc, protection.tls, guards)
        else:
            refuse_cleartext_token(context, core, core_trust.tls, core_token_file)
    if core is None:
        _refuse_flags(context, asdict(core_trust), "a core elsewhere, which needs --core")
    else:
        _refuse_flags(
            context, settings, "the core that serve starts, and with --core it starts none"
        )
    wanted: dict[str, Any] = {
        "http": http,
        "core": core or DEFAULT_CORE,  # its own core's: the real one once that listens
        "public_url": public_url,
        "allowed_hosts": tuple(allowed_host or ()),
        "core_timeout": core_timeout,
        "replica_staleness": replica_staleness if replica else 0.0,
        "workers": workers,
        "core_token_file": core_token_file,
        "trusted_proxies": tuple(trusted_proxies or ()),
        "metrics": metrics,
    }
    gateway = GatewayConfig(protection=protection, core_trust=core_trust, limits=limits, logs=logs)
    for name, value in wanted.items():
        try:
            gateway = replace(gateway, **{name: value})
        except ValueError as error:
            refuse_by(context, error)
    for name, text in gateway.troubles().items():
        refuse(context, text, name)
    own_listeners = {"grpc": grpc, "core_metrics": core_metrics} if core is None else {}
    refuse_collisions(context, {"http": http, "metrics": metrics, **own_listeners})
    own = None if core else {**settings, **asdict(logs), "origins": core_origins(context)}
    return Plan(gateway, own, source)


def core_origins(context: typer.Context) -> dict[str, str]:
    """Return where the settings that only the core can judge come from."""
    return origins(context, "source", "ledger", "grpc", "core_metrics")


def core_settings(
    grpc: str,
    source: list[SourceSetting],
    ledger: str,
    stale_after: float,
    reflection: bool,
    metrics: str | None,
    limits: CoreLimits,
) -> dict[str, object]:
    """Return a core's own settings, as it reads them."""
    return {
        "grpc": grpc,
        "source": [each.setting for each in source],
        "ledger": ledger,
        "stale_after": stale_after,
        "reflection": reflection,
        "core_metrics": metrics,
        **asdict(limits),
    }


def _refuse_flags(context: typer.Context, names: Iterable[str], purpose: str) -> None:
    """Refuse flags that would do nothing."""
    for name in names:
        if given_as_flag(context, name):
            refuse(context, f"it is for {purpose}", name)
