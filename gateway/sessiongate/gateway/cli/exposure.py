"""The closed default: a listener for other machines requires credentials, or does not start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from sessiongate.gateway.cli.origin import refuse
from sessiongate.gateway.settings import HttpSettings, UpstreamSettings
from sessiongate.runtime.addresses import Address
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.settings import setting, switch


@dataclass(frozen=True)
class Exposure:
    """The setting that opens listeners."""

    insecure: bool = setting(
        False,
        switch,
        "Start listeners that other machines can reach even without TLS and credentials.",
    )


def refuse_open_listeners(
    context: typer.Context,
    listeners: Mapping[str, str | None],
    protection: Protection,
    core_token: Path | None,
) -> None:
    """Refuse addresses that other machines can reach, unless TLS and credentials guard them.

    ``listeners`` are by setting. The core's token guards only the one for gRPC.
    """
    for name, address in listeners.items():
        missing = [] if protection.tls else ["TLS (--tls-cert and --tls-key)"]
        if not protection.credentials(core_token if name == "grpc" else None).wanted:
            missing.append("credentials (--users, --token-key, --token-secret or --tls-client-ca)")
        if missing and address is not None and not _is_private(address):
            refuse(
                context,
                f"other machines can reach {address}, and anyone who connects sees who uses your"
                f" databases. Add {' and '.join(missing)}, listen on loopback, such as"
                " 127.0.0.1:8989, or accept this with --insecure",
                name,
            )


def refuse_remote_actions(
    context: typer.Context, listeners: Mapping[str, str | None], protection: Protection
) -> None:
    """Refuse to let everybody act if other machines can reach a listener, by its setting."""
    for address in filter(None, map(listeners.get, ("http", "grpc"))):
        if protection.insecure_actions and not _is_private(address):
            text = f"other machines can reach {address}; configure credentials and --operators"
            refuse(context, f"{text} instead, or listen on loopback", "insecure_actions")


def refuse_proxied_actions(
    context: typer.Context, http: HttpSettings, protection: Protection
) -> None:
    """Refuse to let everybody act who comes through a proxy on this machine."""
    proxied = {"trusted_proxies": http.trusted_proxies, "public_url": http.public_url}
    for name in (name for name, value in proxied.items() if value):
        if protection.insecure_actions:
            text = (
                "a proxy would let others in; configure credentials and --operators instead, or"
                f" leave out --{name.replace('_', '-')}"
            )
            refuse(context, text, "insecure_actions")


def refuse_cleartext_secrets(
    context: typer.Context, upstream: UpstreamSettings, names: Sequence[str] = ("core_token_file",)
) -> None:
    """Refuse to send what these settings name, a token or password, in clear over a network."""
    open_to_others = [each for each in upstream.core_addresses if not _is_private(each)]
    if upstream.core_tls is not None or not open_to_others:
        return
    for name in names:
        if getattr(upstream, name):
            what = "token" if name == "core_token_file" else "password"
            to = ", ".join(open_to_others)
            refuse(
                context, f"the {what} would be sent to {to} unencrypted; add TLS (--core-ca)", name
            )


def _is_private(listener: str) -> bool:
    """Return whether only this machine can reach an address that is listened on."""
    return listener.startswith("unix:") or Address.parse(listener).is_loopback
