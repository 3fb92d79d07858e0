"""The closed default: a listener for other machines requires credentials, or does not start."""

from __future__ import annotations

from pathlib import Path

import typer

from sessiongate.gateway.cli.origin import refuse
from sessiongate.gateway.cli.values import is_private
from sessiongate.runtime.auth.credentials import Credentials
from sessiongate.runtime.tls import ClientTls, ServerTls


def refuse_open_listener(
    context: typer.Context,
    name: str,
    address: str | None,
    tls: ServerTls | None,
    credentials: Credentials,
) -> None:
    """Refuse an address that other machines can reach, unless TLS and credentials guard it."""
    missing = [] if tls else ["TLS (--tls-cert and --tls-key)"]
    if not credentials.wanted:
        missing.append("credentials (--users, --token-key, --token-secret or --tls-client-ca)")
    if missing and address is not None and not is_private(address):
        refuse(
            context,
            f"other machines can reach {address}, and anyone who connects sees who uses your"
            f" databases. Add {' and '.join(missing)}, listen on loopback, such as"
            " 127.0.0.1:8989, or accept this with --insecure",
            name,
        )


def refuse_cleartext_token(
    context: typer.Context, core: str, tls: ClientTls | None, token_file: Path | None
) -> None:
    """Refuse to send the core's token unencrypted over a network."""
    if token_file is not None and tls is None and not is_private(core):
        refuse(
            context,
            f"the token would be sent to {core} unencrypted; add TLS (--core-ca)",
            "core_token_file",
        )
